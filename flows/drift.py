"""Flow `drift`: the newest days against the training days; Evidently draws the report, our policy decides.

A decision to retrain or roll back is emitted as an event; automations on the server act on it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from feature_repo.chosen_heads import deciding_heads
from feature_repo.datasets.splits import local_day
from feature_repo.feature_rows import HEADS, FeatureRows
from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name, with_own_names
from feature_repo.lake import Lake
from flows.deployments import RETRAIN_EVENT, ROLLBACK_EVENT
from flows.steps.days import day_start, microseconds
from flows.steps.drawn_rows import draw_of, exposed_users, share_for
from flows.steps.lakes import dataset_marker, open_lakes, splits_of
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE, PURE_STEP
from flows.steps.too_little import TooLittleData
from flows.train import rows_of, split_at
from infra.settings import get_settings

REFERENCE_DAYS = 3  # newest training days: enough rows, and near enough that counters have the same age


@task(name="frames", **FLAKY_EDGE)
def build_frames(days: list[date], since_us: int, most_rows: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reference (rows before `since_us`, judged only where the champion did not learn) and window (later rows of `days`)."""
    from flows.training.learned_rows import held_out_rows
    from flows.training.registered_versions import bundle_of
    from monitoring.drift.frames import drift_frame
    from services.ranking.bundle import ModelBundle

    settings = get_settings()
    lake, _ = open_lakes(settings)
    every = sorted({*reference_days(lake, since_us), *days})
    share = 1.0 if most_rows is None else share_for(exposed_users([lake], every), most_rows, settings.seed)
    rows = rows_of(every, draw_of(share, settings.seed))
    reference, window = split_at(rows, since_us)
    if len(window) == 0:
        raise TooLittleData(
            f"nothing on {days[0]}..{days[-1]} was lived through yet; replay or wait for traffic, then check drift"
        )
    bundle = ModelBundle.load(bundle_of(settings, "champion"), threads=settings.threads)
    announce("champion's predictions on both sides")
    kept_out = held_out_rows(reference)
    return _frame(drift_frame, bundle, reference, kept_out), _frame(drift_frame, bundle, window, None)


def reference_days(lake: Lake, since_us: int) -> list[date]:
    """The newest days of which some is before `since_us`; the log's first day where there is none."""
    days = lake.event_days()
    return [day for day in days if microseconds(day_start(day, lake.day_offset)) < since_us][-REFERENCE_DAYS:] or days[:1]


def _frame(drift_frame, bundle, rows: FeatureRows, scored: np.ndarray | None) -> pl.DataFrame:
    judged = np.ones(len(rows), bool) if scored is None else scored
    probabilities = np.full((len(rows), len(HEADS)), np.nan, np.float32)
    probabilities[judged] = bundle.predict(rows.take(np.flatnonzero(judged)))
    return drift_frame(rows, probabilities, scored=judged)


@task(name="decide and report", **PURE_STEP)
def decide_and_report(
    reference: pl.DataFrame, window: pl.DataFrame, label: str, planted: bool, log_age: timedelta
) -> dict[str, Any]:
    """log_age: from the log's first day to the reference's."""
    from monitoring.drift.decision import decide
    from monitoring.drift.planted import plant_shift, planted_column
    from monitoring.drift.policy import DriftPolicy, unsettled_windows
    from monitoring.drift.records import keep_decision, load_history
    from monitoring.drift.report import write_report

    folder = get_settings().paths.reports / "drift"
    own_actions = slots_by_name(IdTable(get_settings().platform_database_url))
    policy = DriftPolicy(deciding_heads=deciding_heads(get_settings()) or None).of_log(log_age)
    filling = [
        f"sums that fade over {window} and users' histories are not judged: they were still filling, since the log began only "
        f"{log_age.days} days before the reference"
        for window in unsettled_windows(log_age)
    ]
    fault = plant_shift(window, planted_column(reference, policy), reference=reference) if planted else None
    rows = fault.rows if fault else window
    described = with_own_names(fault.description, own_actions) if fault else None
    announce("deciding")
    decision = decide(
        reference,
        rows,
        policy,
        history=load_history(folder),
        at=datetime.now(UTC),
        label=label,
        planted=described,
    ).in_words(own_actions)
    announce("drawing the report (Evidently)")
    page = write_report(reference, rows, decision, folder)
    keep_decision(folder, decision, report=page.name)
    return {
        "verdict": decision.verdict,
        "reasons": [*decision.reasons, *filling],
        "planted": described,
        "window": label,
        "rows": {"reference": decision.rows_reference, "window": decision.rows_current},
        "drifted_share": decision.drifted_share,
        "columns": [
            {"column": with_own_names(c.name, own_actions)}
            | {"psi": c.psi, "shift_sigmas": c.shift_sigmas, "q": c.q, "drifted": c.drifted, "gross": c.gross}
            for c in sorted(decision.columns, key=lambda c: -c.psi)[:15]
        ],
        "report": f"reports/drift/{page.name}",
    }


@flow(name="drift")
def drift_flow(planted: bool = False, days: list[date] | None = None, most_rows: int | None = None) -> dict[str, Any]:
    """Decide on the newest lived-through days (default: all after the last training day); `planted` plants a fault first.

    most_rows: about how many exposures both sides together are compared on, of users drawn by a hash; default all.
    """
    settings = get_settings()
    lake, _ = open_lakes(settings)
    train_end = splits_of(settings).train_end
    chosen = list(days or [day for day in lake.event_days() if day >= local_day(train_end, lake.day_offset)])
    if not chosen:
        raise TooLittleData(f"nothing from {train_end} on was lived through yet; replay or wait for traffic, then check drift")
    since = day_start(chosen[0], lake.day_offset) if days else train_end
    reference, window = build_frames(chosen, microseconds(since), most_rows)
    log_age = reference_days(lake, microseconds(since))[0] - lake.event_days()[0]
    label = f"{dataset_marker(settings)['label']}: {chosen[0]}..{chosen[-1]}"
    found = decide_and_report(reference, window, label, planted, log_age)
    create_table_artifact(key="drift-columns", table=found["columns"], description=f"{found['verdict']}: {label}")
    link = f"{settings.gateway_url}/{found['report']}"
    create_link_artifact(
        key="drift-report", link=link, link_text=f"Drift report of {label}", description=found["planted"] or ""
    )
    _emit(found)
    return found


def _emit(found: dict[str, Any]) -> None:
    """Tell the server's automations; a warning is for people, and emits nothing."""
    from prefect.events import emit_event

    event = {"retrain": RETRAIN_EVENT, "rollback": ROLLBACK_EVENT}.get(found["verdict"])
    if event is None:
        get_run_logger().info("verdict %s: nothing to act on", found["verdict"])
        return
    reason = (f"{found['planted']}; " if found["planted"] else "") + found["reasons"][0]
    emit_event(
        event, resource={"prefect.resource.id": "home-mixer.drift"}, payload={"reason": reason, "window": found["window"]}
    )
