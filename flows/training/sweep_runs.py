"""A sweep in MLflow: one parent run, and a nested run for everything that was tried."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows.training.registry import experiment_id, log_numbers, tracking_client

if TYPE_CHECKING:
    from flows.training.rate_trials import Trial
    from infra.settings import Settings

PARENT_TAG = "mlflow.parentRunId"  # by which MLflow's page nests runs
_ERROR_CHARACTERS = 500  # MLflow cuts tags too, at a length that depends on its database


def open_sweep(settings: Settings, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Begin a parent run; returns its id."""
    client = tracking_client(settings)
    run_id = client.create_run(experiment_id(client, settings), run_name=name).info.run_id
    log_numbers(client, run_id, _texts(parameters), {}, tags)
    return run_id


@contextmanager
def trial_run(settings: Settings, parent: str, name: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    """A nested run of `parent` while the block runs; yields its id. Where the block fails, so does the run, and says why."""
    client = tracking_client(settings)
    run_id = client.create_run(experiment_id(client, settings), tags={PARENT_TAG: parent}, run_name=name).info.run_id
    log_numbers(client, run_id, _texts(parameters), {}, {})
    try:
        yield run_id
    except BaseException as error:
        end_failed(settings, run_id, error)
        raise
    client.set_terminated(run_id)


def end_failed(settings: Settings, run_id: str, error: BaseException) -> None:
    """End a run that an error stopped: FAILED, or KILLED where somebody interrupted it."""
    client = tracking_client(settings)
    client.set_tag(run_id, "error", f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS])
    client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")


def log_trial(settings: Settings, run_id: str, trial: Trial) -> None:
    """The loss of every epoch (as steps of `heavy.loss`), the metrics by head, the loss that is judged, and the seconds."""
    from mlflow.entities import Metric

    client = tracking_client(settings)
    now_ms = int(time.time() * 1_000)
    losses = [Metric("heavy.loss", loss, now_ms, epoch) for epoch, loss in enumerate(trial.losses)]
    client.log_batch(run_id, metrics=losses)
    log_numbers(client, run_id, {}, {"judged_log_loss": trial.judged_loss, "seconds": trial.seconds, **_by_head(trial)}, {})


def close_sweep(
    settings: Settings, parent: str, best: tuple[str, Trial], failed: Sequence[float], table: Sequence[Mapping[str, Any]]
) -> None:
    """End the parent run: which trial was the best (its run and what it came to), which rates failed, and the whole table."""
    run_id, trial = best
    client = tracking_client(settings)
    tags = {"best_rate": f"{trial.rate:g}", "best_run_id": run_id, "failed_rates": ", ".join(f"{rate:g}" for rate in failed)}
    figures = {"best.rate": trial.rate, "best.judged_log_loss": trial.judged_loss}
    log_numbers(client, parent, {}, {**figures, **{f"best.{name}": value for name, value in _by_head(trial).items()}}, tags)
    client.log_text(parent, json.dumps(list(table), indent=2), "trials.json")
    client.set_terminated(parent)


def _by_head(trial: Trial) -> dict[str, float]:
    """Flat metric names such as click.auc; an undefined metric is not logged."""
    return {
        f"{head}.{name}": float(value)
        for head, metrics in trial.metrics.items()
        for name, value in metrics.items()
        if value is not None
    }


def _texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items()}
