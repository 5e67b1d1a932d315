"""The registry against a real MLflow on SQLite."""

import json
from pathlib import Path

import pytest

from flows.training.fit import TrainReport
from flows.training.registry import (
    CHALLENGER,
    CHAMPION,
    EXPERIMENT,
    UnknownModel,
    champion,
    download_bundle,
    log_training,
    resolve,
    set_alias,
)
from infra.settings import Settings
from services.ranking.bundle import BundleError

pytestmark = pytest.mark.slow
TABLES = {"heavy": {"click": {"auc": 0.76, "ndcg_at_10": None, "positives": 900}}}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


def _report(folder: Path, version: str) -> TrainReport:
    """A training's report with files to register; the registry never reads the weights."""
    folder.mkdir(parents=True)
    (folder / "heavy.safetensors").write_bytes(version.encode() * 100)
    (folder / "bundle.json").write_text(json.dumps({"version": version}))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "part-0.safetensors").write_bytes(b"not part of the bundle")
    return TrainReport(folder, version, 1_000, 7, {"heavy": 1.5}, {"heavy": [0.31, 0.29]}, 512.0)


@pytest.fixture(scope="module")
def registered(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    first = log_training(settings, _report(folder / "a", "aaa"), TABLES, "f1", {"dataset": "world (simulated)"})
    assert champion(settings) is None
    set_alias(settings, CHAMPION, first.version)
    second = log_training(settings, _report(folder / "b", "bbb"), TABLES, "f2")
    set_alias(settings, CHALLENGER, second.version)
    return first, second


def test_each_training_is_a_new_version_and_aliases_say_which_serves(settings, registered):
    first, second = registered
    assert (first.version, second.version) == ("1", "2")
    assert champion(settings) == "1"
    assert resolve(settings, CHALLENGER) == "2"
    assert resolve(settings, "heir") is None


def test_a_bundle_comes_back_byte_for_byte_and_without_checkpoints(settings, registered, tmp_path):
    folder = download_bundle(settings, CHALLENGER, tmp_path / "b")
    assert sorted(file.name for file in folder.iterdir()) == ["bundle.json", "heavy.safetensors"]
    assert (folder / "heavy.safetensors").read_bytes() == b"bbb" * 100
    assert download_bundle(settings, "2", folder) == folder  # already there: kept


def test_a_folder_with_another_bundle_is_not_overwritten(settings, registered, tmp_path):
    folder = download_bundle(settings, "1", tmp_path / "b")
    with pytest.raises(BundleError, match="already holds bundle aaa, not bbb"):
        download_bundle(settings, "2", folder)
    assert (folder / "heavy.safetensors").read_bytes() == b"aaa" * 100


def test_numbers_fingerprint_and_comparison_are_kept_with_the_run(settings, registered):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    run = client.get_run(registered[0].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["heavy.click.auc"] == 0.76
    assert run.data.metrics["heavy.loss.epoch_1"] == 0.29
    assert "heavy.click.ndcg_at_10" not in run.data.metrics
    assert run.data.params["data_fingerprint"] == "f1"
    assert run.data.tags["dataset"] == "world (simulated)"
    assert {"comparison.md", "comparison.json", "bundle"} <= {item.path for item in client.list_artifacts(run.info.run_id)}


def test_artifacts_lie_under_home(settings, registered):
    from mlflow.tracking import MlflowClient

    location = MlflowClient(settings.tracking_uri).get_experiment_by_name(EXPERIMENT).artifact_location
    assert Path(location.removeprefix("file://")).is_relative_to(settings.paths.mlflow)


def test_unknown_versions_and_aliases_are_answered_by_name(settings, registered, tmp_path):
    with pytest.raises(UnknownModel, match="no version '99'"):
        set_alias(settings, CHAMPION, "99")
    with pytest.raises(
        UnknownModel, match=r"no alias 'heir'; there is 'challenger' \(version 2\) and 'champion' \(version 1\)"
    ):
        download_bundle(settings, "heir", tmp_path / "b")
    with pytest.raises(UnknownModel, match="no alias 'heir'; train and register a model first"):
        download_bundle(settings.model_copy(update={"home": tmp_path / "empty"}), "heir", tmp_path / "b")
    assert champion(settings) == "1"


def test_a_training_that_cannot_be_stored_is_marked_failed_and_not_registered(settings, registered, tmp_path):
    from mlflow.tracking import MlflowClient

    report = _report(tmp_path / "c", "ccc")
    (report.folder / "bundle.json").unlink()
    with pytest.raises(OSError, match="bundle.json"):
        log_training(settings, report, {}, "f3")
    client = MlflowClient(settings.tracking_uri)
    assert [run.info.status for run in client.search_runs(client.search_experiments()[0].experiment_id, max_results=1)] == [
        "FAILED"
    ]
    assert resolve(settings, CHALLENGER) == "2"
