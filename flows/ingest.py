"""Flow `ingest`: the dataset's new days into the lake, as contract tables, each once."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.contracts import ContractError
from feature_repo.datasets.adapter import DatasetNotFound, MalformedFile, open_adapter
from feature_repo.datasets.ingest import DATASET_MARKER, IngestError, IngestReport, ingest
from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.splits import Splits
from feature_repo.lake import Lake
from feature_repo.live_posts import write_live_posts
from flows.steps.lakes import dataset_marker
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE, unless
from infra.settings import get_settings

# What is wrong with the data or the settings, and would be again.
REFUSALS = (IngestError, MalformedFile, DatasetNotFound, ContractError, ActionError)


@task(name="ingest tables", **FLAKY_EDGE, retry_condition_fn=unless(*REFUSALS))
def ingest_tables(hold_out: bool | None, may_drop: bool) -> IngestReport:
    """Adapter to lake and holdout; a finished ingestion of the same data is recognised and skipped."""
    settings = get_settings()
    adapter = open_adapter(settings)
    announce(f"reading {adapter.label}")
    lake, holdout = (Lake(root, adapter.day_offset) for root in (settings.paths.lake, settings.paths.holdout))
    if hold_out is None:
        held = lake.marker(DATASET_MARKER)
        hold_out = held is not None and held.get("hold_out", True)
    share = settings.split_train_share
    report = ingest(adapter, lake, holdout, on_progress=announce, hold_out=hold_out, train_share=share, may_drop=may_drop)
    write_live_posts(lake, settings.platform_database_url)  # without those that the dataset holds by now
    for line in told(report, adapter.day_offset):
        announce(line)
    return report


def told(report: IngestReport, day_offset: timedelta) -> list[str]:
    """What a person should read of `report`, a line each: the parts, what was dropped and why, and what is missing."""
    rows = ", ".join(f"{part} {report.rows_per_split.get(part, 0):,}" for part in ("train", "replay", "canary"))
    held_out = "" if report.hold_out else "; nothing is held out"
    lines = [f"splits: {Splits.from_json(report.splits).in_words(day_offset)} (events: {rows}){held_out}"]
    if report.repeats:
        lines.append(f"{report.repeats:,} events were repeats of an event_id and were dropped")
    lines += [f"{rows:,} events are dead letters: {reason}" for reason, rows in report.malformed_by_reason.items()]
    lines += [f"{rows:,} rows are dead letters: {reason}" for reason, rows in report.left_out_by_reason.items()]
    return [*lines, *report.split_notes, *report.notes]


@flow(name="ingest")
def ingest_flow(hold_out: bool | None = None, may_drop: bool | None = None) -> dict:
    """Bring the dataset into the contract tables, partitioned by day; idempotent.

    `hold_out`: keep the newest events out of the lake, to be replayed as live traffic by a tour. None: as this home was
    ingested before; a new home holds nothing out. `may_drop`: take days out of the lake that the files no longer hold, instead
    of refusing; None: as the settings say.
    """
    report = ingest_tables(hold_out, get_settings().ingest_may_drop if may_drop is None else may_drop)
    offset = timedelta(seconds=dataset_marker(get_settings())["day_offset_s"])
    done = "already ingested, nothing to do" if report.skipped else "ingested"
    create_table_artifact(
        key="ingested-days",
        table=[{"day": day, "events": count} for day, count in report.rows_per_day.items()],
        description="; ".join([f"{report.label}: {done}", *told(report, offset)]),
    )
    return asdict(report)
