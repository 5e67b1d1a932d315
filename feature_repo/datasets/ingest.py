"""Puts a dataset into the lake: what the platform has lived through, and the later days that it has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta

import polars as pl

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.datasets.adapter import ContractTables, DatasetAdapter
from feature_repo.datasets.derived_edges import derive_follow_edges
from feature_repo.lake import Lake

# Bumped when the same files would give other tables, so that a finished ingestion by older code is done again.
INGEST_VERSION = 2

DATASET_MARKER = "dataset"
INGEST_MARKER = "ingest"

Progress = Callable[[str], None]


class IngestError(RuntimeError):
    """The lake cannot take this dataset."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion put where. `rows_per_day` counts events of the lake and the holdout together."""

    dataset: str
    label: str
    simulated: bool
    fingerprint: str
    rows_per_day: dict[str, int]  # ISO day -> events
    rows_per_action: dict[str, int]
    lake_events: int
    holdout_events: int
    history_events: int  # undated events from before the first logged day; part of lake_events
    posts: int
    users: int
    edges: int
    edges_derived: bool
    malformed: int
    skipped: bool = field(default=False)  # true: the lake already held exactly this dataset


def ingest(adapter: DatasetAdapter, lake: Lake, holdout: Lake, on_progress: Progress | None = None) -> IngestReport:
    """Write days up to `splits.train_end` and the prior history into `lake`, later days into `holdout`.

    Every step replaces its own part and the marker comes last: a killed run is repeated, a finished one is skipped.
    Raises IngestError when the lake holds another dataset or parts its days by another midnight; MalformedFile.
    """
    say = on_progress or (lambda message: None)
    _refuse_another_dataset(adapter, lake, holdout)
    fingerprint = f"{adapter.fingerprint()}-v{INGEST_VERSION}"
    finished = lake.marker(INGEST_MARKER)
    if finished is not None and finished["fingerprint"] == fingerprint:
        say(f"{adapter.label}: already ingested")
        return IngestReport(**{**finished, "skipped": True})
    _mark_dataset(adapter, fingerprint, lake, holdout)
    say(f"reading {adapter.label}")
    tables = adapter.tables()
    report = _write(adapter, tables, fingerprint, lake, holdout, say)
    lake.mark(INGEST_MARKER, asdict(report))
    return report


def _refuse_another_dataset(adapter: DatasetAdapter, lake: Lake, holdout: Lake) -> None:
    for place in (lake, holdout):
        if place.day_offset != adapter.day_offset:
            raise IngestError(
                f"{place.root}: opened with day offset {place.day_offset}, but {adapter.label} needs {adapter.day_offset}; "
                "open the lake with the adapter's day_offset"
            )
        held = place.marker(DATASET_MARKER)
        if held is not None and held["name"] != adapter.name:
            raise IngestError(
                f"{place.root} holds dataset {held['name']!r}, not {adapter.name!r}; "
                "set MIXER_HOME to another folder or remove this one"
            )


def _mark_dataset(adapter: DatasetAdapter, fingerprint: str, *places: Lake) -> None:
    content = {
        "name": adapter.name,
        "label": adapter.label,
        "simulated": adapter.simulated,
        "fingerprint": fingerprint,
        "day_offset_s": adapter.day_offset // timedelta(seconds=1),
        "train_end": adapter.splits.train_end.isoformat(),
        "replay": [day.isoformat() for day in adapter.splits.replay],
        "canary": [day.isoformat() for day in adapter.splits.canary],
    }
    for place in places:
        place.mark(DATASET_MARKER, content)


def _write(
    adapter: DatasetAdapter, tables: ContractTables, fingerprint: str, lake: Lake, holdout: Lake, say: Progress
) -> IngestReport:
    part = adapter.name
    local_day = (pl.col("occurred_at").dt.replace_time_zone(None) + adapter.day_offset).dt.date()
    undated = pl.col("product") == HISTORY_BEFORE
    lived = undated | (local_day <= adapter.splits.train_end)
    past = tables.events.filter(lived)
    say(f"writing {tables.events.height:,} events")
    lake_days = lake.write_events(past, part)
    holdout_days = holdout.write_events(tables.events.filter(~lived), part)
    say("writing posts, users and edges")
    # Edges come from the lived-through days only: a graph that knew the holdout would leak it.
    edges = derive_follow_edges(past) if tables.edges is None else tables.edges
    lake.write("posts", tables.posts, part)
    lake.write("users", tables.users, part)
    lake.write("edges", edges, part)
    lake.dead_letters(tables.malformed, part)
    days = {day: lake_days.get(day, 0) + holdout_days.get(day, 0) for day in sorted({*lake_days, *holdout_days})}
    actions = tables.events.group_by("action").len().sort("len", "action", descending=[True, False])
    return IngestReport(
        dataset=adapter.name,
        label=adapter.label,
        simulated=adapter.simulated,
        fingerprint=fingerprint,
        rows_per_day={day.isoformat(): rows for day, rows in days.items()},
        rows_per_action=dict(actions.iter_rows()),
        lake_events=sum(lake_days.values()),
        holdout_events=sum(holdout_days.values()),
        history_events=past.select(undated.sum()).item(),
        posts=tables.posts.height,
        users=tables.users.height,
        edges=edges.height,
        edges_derived=tables.edges is None,
        malformed=tables.malformed.height,
    )
