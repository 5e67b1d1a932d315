"""Flow `validate`: Great Expectations over the contract tables; what breaks a hard rule goes to quarantine."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from feature_repo.ids import IdTable
from feature_repo.ids.owner_ids import with_owner_ids
from flows.steps.lakes import dataset_marker, open_lakes
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE, PURE_STEP
from infra.settings import get_settings
from monitoring.expectations.bounds import Bounds


class BatchFailed(RuntimeError):
    """More than the allowed share of a table broke a hard expectation."""


@task(name="read tables", **FLAKY_EDGE)
def read_tables() -> dict[str, pl.DataFrame]:
    lake, holdout = open_lakes(get_settings())
    tables = {name: lake.read(name) for name in ("posts", "users", "edges")}
    lived = lake.events()
    # Replayed days stand in both: what was lived through is what counts.
    ahead = holdout.events().join(lived.select("event_id"), on="event_id", how="anti")
    return {"events": pl.concat([lived, ahead]), **tables}


@task(name="expectations", **PURE_STEP)
def check_tables(tables: dict[str, pl.DataFrame]):
    from monitoring.expectations.validation import validate_tables

    announce("checking " + ", ".join(f"{table.height:,} {name}" for name, table in tables.items()))
    settings = get_settings()
    marker = dataset_marker(settings)
    return validate_tables(
        tables,
        settings.paths.reports / "data_docs",
        label=marker["label"],
        earliest=datetime.fromisoformat(marker["earliest"]),
        bounds=Bounds.of(settings),
        named=partial(with_owner_ids, ids=IdTable(settings.platform_database_url)),
    )


@task(name="quarantine", **FLAKY_EDGE)
def quarantine(report) -> None:
    """Move broken rows out of the tables, with the rule's name beside each."""
    lake, holdout = open_lakes(get_settings())
    for name, split in report.splits.items():
        if split.quarantined.height:
            lake.quarantine(name, split.quarantined)
            for owner in (lake, holdout):
                owner.discard(name, split.quarantined, split.clean)


@flow(name="validate")
def validate_flow() -> dict:
    """Validate the four tables; rows that break a hard rule are set aside. Fails when too many do, and then moves none."""
    Bounds.of(get_settings())  # a bound of a rule that does not exist is refused before anything is read
    report = check_tables(read_tables())
    if report.passed:
        quarantine(report)
    summary = report.summary()
    rows = [
        {
            "table": name,
            "rows": table["rows"],
            "quarantined": table["quarantined"],
            "rules": table["rules"],
            "passed": table["passed"],
        }
        for name, table in summary["tables"].items()
    ]
    create_table_artifact(key="validation", table=rows, description="Rows and quarantined rows by table")
    create_link_artifact(
        key="data-docs",
        link=f"{get_settings().gateway_url}/reports/data_docs/index.html",
        link_text="Data Docs of the last validation",
    )
    if not report.passed:
        raise BatchFailed("\n".join(report.failures))
    return summary
