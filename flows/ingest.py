"""Flow `ingest`: the dataset's new days into the lake, as contract tables, each once."""

from __future__ import annotations

from dataclasses import asdict

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.datasets.adapter import open_adapter
from feature_repo.datasets.ingest import IngestReport, ingest
from feature_repo.lake import Lake
from flows.progress import announce
from flows.retries import FLAKY_EDGE
from infra.settings import get_settings


@task(name="ingest tables", **FLAKY_EDGE)
def ingest_tables() -> IngestReport:
    """Adapter to lake and holdout; a finished ingestion of the same data is recognised and skipped."""
    settings = get_settings()
    adapter = open_adapter(settings)
    announce(f"reading {adapter.label}")
    lake, holdout = (Lake(root, adapter.day_offset) for root in (settings.paths.lake, settings.paths.holdout))
    return ingest(adapter, lake, holdout, on_progress=announce)


@flow(name="ingest")
def ingest_flow() -> dict:
    """Bring the dataset into the contract tables, partitioned by day; idempotent."""
    report = ingest_tables()
    create_table_artifact(
        key="ingested-days",
        table=[{"day": day, "events": count} for day, count in report.rows_per_day.items()],
        description=f"{report.label}: {'already ingested, nothing to do' if report.skipped else 'ingested'}",
    )
    return asdict(report)
