"""Puts a dataset into the lake, in a stream: what the platform has lived through, and where wanted the later part held out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl

from feature_repo.contracts import EVENTS, check_table
from feature_repo.datasets.adapter import DatasetAdapter
from feature_repo.datasets.chosen_splits import TRAIN_SHARE, NoDatedEvents, choose_splits
from feature_repo.datasets.derived_edges import derive_follow_edges
from feature_repo.datasets.event_counts import EventCounts
from feature_repo.datasets.incoming_events import IncomingEvents
from feature_repo.datasets.published_events import publish_events
from feature_repo.datasets.read_ahead import read_ahead
from feature_repo.datasets.repeats import EventIds, FirstCopies
from feature_repo.datasets.splits import Splits
from feature_repo.datasets.vanishing import in_words, vanishing
from feature_repo.lake import DEAD_LETTERS, Lake
from feature_repo.plausible_times import latest_plausible, part_implausible
from infra.process_memory import give_back

# Bumped when the same files would give other tables, so that a finished ingestion by older code is done again.
INGEST_VERSION = 4
MANY_EVENTS = 1_000_000  # that use memory worth giving back

DATASET_MARKER = "dataset"
INGEST_MARKER = "ingest"
INCOMING = ".incoming"  # folder of the lake that holds a running ingestion's events

PROGRESS_ROWS = 1_000_000  # events between two lines of progress

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
    malformed_by_reason: dict[str, int]
    left_out_by_reason: dict[str, int]  # rows of posts, users and edges among the dead letters: "table: reason" -> rows
    repeats: int  # events whose event_id was there before; dropped
    hold_out: bool  # true: events from the splits' train_end on are in the holdout
    splits: dict[str, Any]  # as `Splits.as_json`
    rows_per_split: dict[str, int]  # dated events in train, replay, canary and none of them
    split_notes: tuple[str, ...]  # what a part lacks, in one sentence each
    notes: tuple[str, ...]  # what the adapter derived, sampled or left out
    skipped: bool = field(default=False)  # true: the lake already held exactly this dataset


@dataclass
class _Read:
    """What reading the events gave, beside the events themselves."""

    incoming: IncomingEvents
    times: EventCounts
    ids: EventIds = field(default_factory=EventIds)
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # rows of the other tables, by table and reason

    def give_back(self) -> None:
        """Return freed memory after a step; of few events it is not worth the look at every object of the process."""
        if self.incoming.rows >= MANY_EVENTS:
            give_back()


def ingest(
    adapter: DatasetAdapter,
    lake: Lake,
    holdout: Lake,
    on_progress: Progress | None = None,
    *,
    hold_out: bool = True,
    train_share: float | None = None,
    may_drop: bool = False,
) -> IngestReport:
    """Write the dataset into `lake`; with `hold_out`, its events from `splits.train_end` on into `holdout` instead.

    `train_share` chooses the splits from the events; None takes the dataset's own where it has some. Memory is bounded. Every
    step replaces its own part and the marker comes last: a killed run is repeated, a finished one is skipped.
    Raises IngestError when the lake holds another dataset or parts its days by another midnight, no event can be used, or days
    that were ingested are no longer in the files, unless those `may_drop`; MalformedFile; ContractError.
    """
    say = on_progress or (lambda message: None)
    source = adapter.fingerprint()
    refuse_another_dataset(adapter, source, lake, holdout)
    fingerprint = f"{source}-v{INGEST_VERSION}{'' if hold_out else '-all'}{'' if train_share is None else f'-{train_share:g}'}"
    finished = lake.marker(INGEST_MARKER)
    if finished is not None and finished["fingerprint"] == fingerprint:
        say(f"{adapter.label}: already ingested")
        return IngestReport(**{**finished, "skipped": True})
    say(f"reading {adapter.label}")
    incoming = lake.root / INCOMING
    shutil.rmtree(incoming, ignore_errors=True)  # of a run that was killed
    try:
        read = _Read(IncomingEvents(incoming, adapter.day_offset), EventCounts(adapter.day_offset))
        _read_events(adapter, lake, read, say)
        if not may_drop and (lost := vanishing(adapter, read.incoming, lake, holdout)):
            raise IngestError(f"{adapter.label}: {in_words(lost)}")
        read.give_back()  # what reading used: writing needs other memory
        splits = _splits(adapter, read, train_share)
        lake.unmark(INGEST_MARKER)
        mark_dataset(adapter, fingerprint, splits, hold_out, lake, holdout)
        report = _publish(adapter, fingerprint, read, splits, lake, holdout, hold_out, say)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    lake.mark(INGEST_MARKER, asdict(report))
    return report


def refuse_another_dataset(adapter: DatasetAdapter, source: str, *lakes: Lake) -> None:
    """Raise IngestError where `lakes` hold another dataset than `adapter`, whose fingerprint is `source`.

    The same dataset has the same fingerprint, or the same name, label and place: files may have been added to it.
    """
    for place in lakes:
        if place.day_offset != adapter.day_offset:
            raise IngestError(
                f"{place.root}: opened with day offset {place.day_offset}, but {adapter.label} needs {adapter.day_offset}; "
                "open the lake with the adapter's day_offset"
            )
        held = place.marker(DATASET_MARKER)
        if held is None or held["fingerprint"].startswith(f"{source}-"):
            continue
        former = (held["name"], held["label"], held.get("place", ""))
        new = (adapter.name, adapter.label, adapter.place)
        if former != new:
            since = f"{place.marked_at(DATASET_MARKER):%Y-%m-%d %H:%M} UTC"
            raise IngestError(
                f"{place.root} holds dataset {_named(*former)}, ingested {since}, not {_named(*new)}; "
                "set MIXER_HOME to another folder, or remove this one with all that was learned from it"
            )


def _named(name: str, label: str, place: str) -> str:
    return f"{name!r} ({label}{f' from {place}' if place else ''})"


def mark_dataset(adapter: DatasetAdapter, fingerprint: str, splits: Splits, hold_out: bool, *places: Lake) -> None:
    """Tell other processes how to open the lakes and what lies in them."""
    content = {
        "name": adapter.name,
        "label": adapter.label,
        "place": adapter.place,
        "simulated": adapter.simulated,
        "fingerprint": fingerprint,
        "day_offset_s": adapter.day_offset // timedelta(seconds=1),
        "earliest": adapter.earliest.isoformat(),
        "hold_out": hold_out,
        "splits": splits.as_json(),
        "notes": list(adapter.notes),
        "derived_impressions": adapter.derived_impressions,
        "sampled_negatives": adapter.sampled_negatives,
    }
    for place in places:
        place.mark(DATASET_MARKER, content)


def _read_events(adapter: DatasetAdapter, lake: Lake, read: _Read, say: Progress) -> None:
    """All events of `adapter` into `read`, dead ones into the dead letters. Raises IngestError where none is good."""
    latest, told = latest_plausible(), 0
    with lake.dead_letter_file(adapter.name) as letters:
        for batch in read_ahead(adapter.event_batches()):
            split = part_implausible(batch, adapter.earliest, latest)
            if not split.dead.is_empty():
                letters.add(as_dead_letters(split.dead))
                read.reasons.update(dict(split.dead.group_by("reason").len().iter_rows()))
            good = checked_events(split.good)
            if not adapter.distinct_ids:
                read.ids.add(good["event_id"])
            read.times.add(good)
            read.incoming.add(good)
            if read.incoming.rows // PROGRESS_ROWS > told:
                told = read.incoming.rows // PROGRESS_ROWS
                say(f"read {read.incoming.rows:,} events")
        for table, rows in adapter.left_out().items():
            letters.add(as_dead_letters(rows))
            read.left_out.update({f"{table}: {reason}": count for reason, count in rows["reason"].value_counts().iter_rows()})
    if read.incoming.rows == 0:
        raise IngestError(f"{adapter.label}: {_why_nothing(read.reasons, lake, adapter.name)}")


def checked_events(events: pl.DataFrame) -> pl.DataFrame:
    """`events` with the columns and types of the contract; raises ContractError. What has them already is not copied."""
    contract = pl.from_arrow(EVENTS.empty_table()).schema
    required = [field.name for field in EVENTS if not field.nullable]
    if events.schema == contract and not any(events[name].null_count() for name in required):
        return events
    return pl.from_arrow(check_table("events", events))


def _why_nothing(reasons: Counter[str], lake: Lake, part: str) -> str:
    if not reasons:
        return "there is no event in it; nothing was ingested"
    reason, rows = reasons.most_common(1)[0]
    return (
        f"not one of {sum(reasons.values()):,} events can be used, most often because {reason} ({rows:,} events); "
        f"they lie in {lake.root / 'dead_letters' / part}.parquet. Mend the source and run again"
    )


def as_dead_letters(dead: pl.DataFrame) -> pl.DataFrame:
    """`dead` with the columns of the lake's dead letters; those that it lacks are null."""
    empty = pl.from_arrow(DEAD_LETTERS.empty_table())
    columns = [
        (pl.col(name) if name in dead.columns else pl.lit(None)).cast(dtype, strict=False).alias(name)
        for name, dtype in empty.schema.items()
    ]
    return dead.select(columns)


def _splits(adapter: DatasetAdapter, read: _Read, train_share: float | None) -> Splits:
    if adapter.splits is not None and train_share is None:
        return adapter.splits
    try:
        return choose_splits(read.times, TRAIN_SHARE if train_share is None else train_share)
    except NoDatedEvents as error:
        raise IngestError(f"{adapter.label}: {error}") from error


def _publish(
    adapter: DatasetAdapter,
    fingerprint: str,
    read: _Read,
    splits: Splits,
    lake: Lake,
    holdout: Lake,
    hold_out: bool,
    say: Progress,
) -> IngestReport:
    part = adapter.name
    for place in (lake, holdout):
        place.remove_unfinished(part)
    say(f"writing {read.incoming.rows:,} events")
    first_copies = FirstCopies(read.ids.repeated())
    found = publish_events(read.incoming, first_copies, splits, part, lake, holdout, hold_out=hold_out)
    read.give_back()
    say("writing posts, users and edges")
    posts = lake.write("posts", adapter.posts(), part)
    users = lake.write("users", adapter.users(), part)
    declared = adapter.edges()
    # Derived from what was lived through only: a graph that knew the holdout would leak it.
    edges = derive_follow_edges(lake.scan_events()) if declared is None else declared
    lake.write("edges", edges, part)
    return IngestReport(
        dataset=adapter.name,
        label=adapter.label,
        simulated=adapter.simulated,
        fingerprint=fingerprint,
        rows_per_day={day.isoformat(): rows for day, rows in found.rows_per_day.items()},
        rows_per_action=dict(sorted(found.rows_per_action.items(), key=lambda one: (one[1], one[0]), reverse=True)),
        lake_events=found.lake_events,
        holdout_events=found.holdout_events,
        history_events=found.history_events,
        posts=posts,
        users=users,
        edges=edges.height,
        edges_derived=declared is None,
        malformed=sum(read.reasons.values()),
        malformed_by_reason=dict(read.reasons.most_common()),
        left_out_by_reason=dict(read.left_out.most_common()),
        repeats=first_copies.dropped + adapter.repeats,
        hold_out=hold_out,
        splits=splits.as_json(),
        rows_per_split=dict(found.rows_per_split),
        split_notes=splits.notes,
        notes=tuple(adapter.notes),
    )
