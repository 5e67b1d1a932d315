"""Flow `sweep`: the heavy ranker at several learning rates, each a nested MLflow run, judged on the newest training days.

No row of the test days is read: whoever chooses on them can no longer measure on them.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.steps.days import day_start, microseconds
from flows.steps.lakes import dataset_marker, open_lakes, split_days, splits_of
from flows.steps.progress import announce
from flows.steps.retries import PURE_STEP
from flows.train import read_rows, split_at
from infra.settings import get_settings

RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)  # about the ranker's own
JUDGING_DAYS = 2  # of the training days, the newest


class SweepFailed(RuntimeError):
    """No rate could be tried to the end."""


@task(name="trial rows", **PURE_STEP)
def prepare(train: Any, judging: Any) -> Any:
    from flows.training.rate_trials import trial_rows

    settings = get_settings()
    announce(f"{len(train):,} rows to learn from, {len(judging):,} to judge on")
    return trial_rows(
        train,
        judging,
        seed=settings.seed,
        threads=settings.threads,
        preset=settings.ranker_preset,
        teacher_share=settings.ranker_teacher_share,
        kept_negatives=settings.ranker_kept_negatives,
        calibration=settings.ranker_calibration,
    )


@task(name="try a rate", task_run_name="try {rate}", **PURE_STEP)
def try_rate(rows: Any, rate: float, parent: str) -> tuple[str, Any]:
    """One trial as a nested run of `parent`; returns its run's id and what it came to."""
    from flows.training.rate_trials import fit_trial, rated
    from flows.training.sweep_runs import log_trial, trial_run

    settings = get_settings()
    announce(f"fitting at {rate:g}")
    parameters = {**asdict(rated(rows.schedule, rate)), "preset": rows.preset, "seed": rows.seed, "rows": len(rows.learned)}
    folder = settings.paths.bundles / f"sweep-{rows.fingerprint.replace('/', '-')}" / f"{rate:g}"
    with trial_run(settings, parent, f"rate-{rate:g}", parameters) as run_id:
        trial = fit_trial(rows, rate, folder, on_progress=lambda _, share, loss: announce(f"{rate:g}: {share:.0%}, {loss:.4f}"))
        log_trial(settings, run_id, trial)
    return run_id, trial


@flow(name="sweep")
def sweep_flow(rates: list[float] | None = None, judging_days: int = JUDGING_DAYS) -> dict[str, Any]:
    """Fit at each of `rates`, name the best by log loss on the newest `judging_days` training days; registers no model.

    A rate that fails is a failed task and a failed run, and leaves the others alone. Raises TrialError on bad rates or too few
    rows, SweepFailed where every rate failed.
    """
    from flows.training.rate_trials import checked_rates
    from flows.training.sweep_runs import end_failed, open_sweep

    settings = get_settings()
    chosen = checked_rates(rates or RATES)
    train_days, judged_days = days_of(judging_days)
    lake, _ = open_lakes(settings)
    parameters = {
        "rates": ", ".join(f"{rate:g}" for rate in chosen),
        "train_days": f"{train_days[0]}..{train_days[-1]}",
        "judging_days": f"{judged_days[0]}..{judged_days[-1]}",
        "data_fingerprint": lake.fingerprint([*train_days, *judged_days]),
    }
    parent = open_sweep(settings, "learning-rate-sweep", parameters, {"dataset": dataset_marker(settings)["label"]})
    try:
        rows = read_rows([*train_days, *judged_days])
        train, later = split_at(rows, microseconds(day_start(judged_days[0], lake.day_offset)))
        judging, _ = split_at(later, microseconds(splits_of(settings).train_end))
        prepared = prepare(train, judging)
        # One after another: each uses all threads that a training may.
        states = {rate: try_rate(prepared, rate, parent, return_state=True) for rate in chosen}
        return _conclude(parent, parameters, {rate: state.result(raise_on_failure=False) for rate, state in states.items()})
    except BaseException as error:
        end_failed(settings, parent, error)
        raise


def days_of(judging_days: int) -> tuple[list[date], list[date]]:
    """Days to learn from and later days to judge on, all of them training days. Raises TrialError where they are too few."""
    from flows.training.rate_trials import TrialError

    settings = get_settings()
    lake, _ = open_lakes(settings)
    train_end = split_days(settings)[0]
    days = [day for day in lake.event_days() if day <= train_end]
    if not 0 < judging_days < len(days):
        raise TrialError(f"{judging_days} days to judge on: it is 1 to {len(days) - 1}, of {len(days)} training days")
    return days[:-judging_days], days[-judging_days:]


def _conclude(parent: str, parameters: dict[str, str], found: dict[float, Any]) -> dict[str, Any]:
    """Name the best of what was found (by rate: a run and its trial, or an error) in the parent run and in a table."""
    from flows.training.sweep_runs import close_sweep

    settings = get_settings()
    tried = {rate: answer for rate, answer in found.items() if not isinstance(answer, BaseException)}
    failed = {rate: f"{type(error).__name__}: {error}" for rate, error in found.items() if rate not in tried}
    table = trial_table(tried, failed)
    create_table_artifact(key="learning-rate-sweep", table=table, description=f"Judged on {parameters['judging_days']}")
    if not tried:
        raise SweepFailed(f"every rate failed, the first with {next(iter(failed.values()))}")
    run_id, best = min(tried.values(), key=lambda answer: answer[1].judged_loss)
    close_sweep(settings, parent, (run_id, best), list(failed), table)
    announce(f"best rate: {best.rate:g}")
    return {
        "best_rate": best.rate,
        "best_run_id": run_id,
        "parent_run_id": parent,
        "judged_log_loss": best.judged_loss,
        "trials": table,
        "failed": {f"{rate:g}": error for rate, error in failed.items()},
        **parameters,
    }


def trial_table(tried: dict[float, Any], failed: dict[float, str]) -> list[dict[str, Any]]:
    """One row a rate, ascending: its figures, or why there are none."""
    rows = {rate: {"rate": rate, "run": None, "judged_log_loss": None, "error": error} for rate, error in failed.items()}
    for rate, (run_id, trial) in tried.items():
        judged = {
            f"{head} {metric}": trial.metrics[head][metric] for head in trial.judged_heads for metric in ("log_loss", "auc")
        }
        last = trial.losses[-1] if trial.losses else None
        rows[rate] = {
            "rate": rate,
            "run": run_id,
            "judged_log_loss": trial.judged_loss,
            **judged,
            "training_loss": last,
            "seconds": trial.seconds,
            "error": None,
        }
    return [rows[rate] for rate in sorted(rows)]
