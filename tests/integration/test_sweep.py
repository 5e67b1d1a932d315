"""The sweep flow on a small simulated world, with a real Prefect server and a real MLflow on SQLite."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.lake import Lake
from flows.cli.app import app
from flows.steps.lakes import split_days
from flows.training.rate_trials import TrialError
from flows.training.registry import EXPERIMENT
from infra.settings import get_settings

pytestmark = pytest.mark.slow
SMALL = WorldConfig(seed=11, users=120, posts=400, days=7)  # three training days, two of test, two more
TOO_HIGH = 1e30  # leaves the numbers in the first steps


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A home with a small world's lake, and a Prefect server of the test's own."""
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("MIXER_THREADS", "1")
        patch.setenv("MIXER_RANKER_TEACHER_SHARE", "0")
        get_settings.cache_clear()
        settings = get_settings()
        ingest(WorldAdapter(config=SMALL), Lake(settings.paths.lake), Lake(settings.paths.holdout))
        with prefect_test_harness(server_startup_timeout=120):
            yield settings
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def swept(settings):
    from flows.sweep import sweep_flow

    return sweep_flow([2e-3, TOO_HIGH, 5e-4], judging_days=1)


@pytest.fixture(scope="module")
def client(settings):
    from mlflow.tracking import MlflowClient

    return MlflowClient(settings.tracking_uri)


@pytest.fixture(scope="module")
def children(client, swept):
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    nested = f"tags.`mlflow.parentRunId` = '{swept['parent_run_id']}'"
    return {run.info.run_name: run for run in client.search_runs(experiment, nested)}


def test_every_rate_is_a_nested_run_with_parameters_losses_and_figures(children, client):
    assert children.keys() == {"rate-0.0005", "rate-0.002", "rate-1e+30"}
    run = children["rate-0.002"]
    assert run.info.status == "FINISHED"
    assert run.data.params["rate"] == "0.002"
    assert run.data.params["table_rate"] == "0.008"
    losses = client.get_metric_history(run.info.run_id, "heavy.loss")
    assert [one.step for one in losses] == list(range(int(run.data.params["epochs"])))
    for head in ("click", "video_view"):
        assert 0 < run.data.metrics[f"{head}.log_loss"] < 2
        assert 0 < run.data.metrics[f"{head}.auc"] < 1


def test_the_parent_names_the_rate_with_the_least_loss_on_the_judging_days(client, children, swept):
    parent = client.get_run(swept["parent_run_id"])
    finished = {name: run for name, run in children.items() if run.info.status == "FINISHED"}
    best = min(finished.values(), key=lambda run: run.data.metrics["judged_log_loss"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best_run_id"] == swept["best_run_id"] == best.info.run_id
    assert float(parent.data.tags["best_rate"]) == swept["best_rate"] == float(best.data.params["rate"])
    assert parent.data.metrics["best.click.auc"] == best.data.metrics["click.auc"]
    assert "trials.json" in {item.path for item in client.list_artifacts(parent.info.run_id)}


def test_a_rate_that_fails_is_seen_and_loses_no_other(children, client, swept):
    failed = children["rate-1e+30"]
    assert failed.info.status == "FAILED"
    assert "FloatingPointError: heavy: loss is" in failed.data.tags["error"]
    assert client.get_run(swept["parent_run_id"]).data.tags["failed_rates"] == "1e+30"
    assert "FloatingPointError" in swept["failed"]["1e+30"]
    assert [row["rate"] for row in swept["trials"]] == [5e-4, 2e-3, TOO_HIGH]
    assert [row["error"] is None for row in swept["trials"]] == [True, True, False]


def test_prefect_shows_the_failed_task_and_the_table(swept):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as prefect:
        states = {run.name: run.state_type for run in prefect.read_task_runs() if run.name.startswith("try ")}
        assert states == {"try 0.0005": "COMPLETED", "try 0.002": "COMPLETED", "try 1e+30": "FAILED"}
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["learning-rate-sweep"]))
        artifact = prefect.read_artifacts(artifact_filter=wanted)[0]
    assert [row["rate"] for row in json.loads(artifact.data)] == [row["rate"] for row in swept["trials"]]


def test_no_test_day_is_learned_from_or_judged_on(settings, swept):
    train_end = split_days(settings)[0]
    assert swept["judging_days"] == f"{train_end}..{train_end}"
    assert swept["train_days"].endswith(str(train_end - timedelta(days=1)))


def test_a_sweep_in_which_every_rate_fails_has_failed(settings, client):
    from flows.sweep import SweepFailed, sweep_flow

    with pytest.raises(SweepFailed, match="every rate failed, the first with FloatingPointError"):
        sweep_flow([TOO_HIGH, TOO_HIGH * 10], judging_days=1)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    newest = client.search_runs(experiment, "run_name = 'learning-rate-sweep'", max_results=1)[0]
    assert newest.info.status == "FAILED"
    assert "SweepFailed" in newest.data.tags["error"]


def test_days_and_rates_that_decide_nothing_are_refused(settings):
    from flows.sweep import days_of, sweep_flow

    with pytest.raises(TrialError, match="99 days to judge on: it is 1 to"):
        days_of(99)
    with pytest.raises(TrialError, match="give at least 2"):
        sweep_flow([1e-3])


def test_the_command_prints_the_best_rate(settings, swept):
    before = dict(os.environ)
    try:
        answer = CliRunner().invoke(
            app, ["run", "sweep", "--rate", "0.002", "--rate", "0.0005", "--judging-days", "1", "--json"]
        )
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert answer.exit_code == 0, answer.output
    printed = json.loads(answer.stdout[answer.stdout.index("{") :])
    assert printed["best_rate"] == swept["best_rate"]
    assert printed["parent_run_id"] != swept["parent_run_id"]
