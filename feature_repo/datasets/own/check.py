"""What an ingestion would say of files, without one: every refusal, and by reason the first rows that would be left out.

One refusal needs the ingestion itself: that rows which the home has ingested are missing from the files now.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import polars as pl

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.ingest import IngestError, refuse_another_dataset
from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.own.adapter import OwnData, RowCounts
from feature_repo.datasets.repeats import EventIds
from feature_repo.ids import IdTable
from feature_repo.lake import Lake

SHOWN = 3  # rows of each reason
NOTHING_HELD: Mapping[str, list[str]] = MappingProxyType({})  # as a home is that does not exist yet


@dataclass
class RowFault:
    """Rows of a table that would be left out for one reason; `rows` are the first of them as (file, row, column, value)."""

    table: str
    reason: str
    count: int = 0
    rows: list[tuple[str, int | None, str | None, str | None]] = field(default_factory=list)


@dataclass
class CheckReport:
    """What ingestion would say."""

    refusals: list[str] = field(default_factory=list)
    faults: dict[tuple[str, str], RowFault] = field(default_factory=dict)  # by table and reason
    doubts: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    counts: RowCounts = field(default_factory=RowCounts)
    events: int = 0  # that the lake and the holdout would have: of the files, derived and sampled, each event_id once
    repeats: int = 0  # rows and events that would be dropped, as their event_id was there before
    posts: int = 0
    users: int = 0
    edges: int = 0
    days: tuple[str, str] | None = None

    @property
    def accepted(self) -> bool:
        """Whether an ingestion would go through."""
        return not self.refusals

    def add_days(self, good: pl.DataFrame, adapter: OwnData) -> None:
        """Widen the days to those of `good`."""
        if good.height:
            moments = (good["occurred_at"].min(), good["occurred_at"].max())
            first, last = ((moment + adapter.day_offset).date().isoformat() for moment in moments)
            self.days = (min(first, self.days[0]), max(last, self.days[1])) if self.days else (first, last)

    def add_rows(self, table: str, dead: pl.DataFrame) -> None:
        """Count dead rows of `table` by reason."""
        for (reason,), rows in dead.partition_by("reason", as_dict=True, maintain_order=True).items():
            fault = self.faults.setdefault((table, reason), RowFault(table, reason))
            fault.count += rows.height
            wanted = rows.head(SHOWN - len(fault.rows))
            fault.rows += wanted.select("source_file", "source_row", "source_column", "source_value").rows()


Look = Callable[[str, pl.DataFrame, OwnData], None]  # table, rows of its contract, and of what data


def _look_away(table: str, rows: pl.DataFrame, data: OwnData) -> None:
    """For whoever wants the report alone."""


@contextmanager
def scratch_ids() -> Iterator[IdTable]:
    """A table of ids that is gone afterwards, so that looking at files changes nothing."""
    with tempfile.TemporaryDirectory(prefix="own-check-") as folder:
        yield IdTable(f"sqlite:///{Path(folder) / 'ids.sqlite'}")


def check(
    place: Path, held: Mapping[str, list[str]] = NOTHING_HELD, lakes: Sequence[Path] = (), look: Look = _look_away
) -> CheckReport:
    """Read all files at `place` as an ingestion would, and write nothing.

    held: names of own actions that the home of the ingestion knows, by kind, in the order of their slots. lakes: folders of the
    home's lakes, which may hold another dataset. look: is shown the rows that the lake would have, of each table in turn.
    """
    with scratch_ids() as ids:
        for kind, names in held.items():
            ids.codes(f"own_action:{kind}", pl.Series("name", names, pl.String))
        report = CheckReport()
        try:
            adapter = OwnData(place, ids)
            _check_columns(adapter, report)
            if not adapter.survey.refusals and not any(rows.refusals for rows in adapter.side_rows().values()):
                _check_rows(adapter, report, look)
            _check_home(adapter, [Lake(folder, adapter.day_offset) for folder in lakes if folder.exists()], report)
        except (MalformedFile, ActionError) as error:
            report.refusals.append(str(error))
    return report


def _check_home(adapter: OwnData, lakes: Sequence[Lake], report: CheckReport) -> None:
    try:
        refuse_another_dataset(adapter, adapter.fingerprint(), *lakes)
    except IngestError as error:
        report.refusals.append(str(error))


def _check_columns(adapter: OwnData, report: CheckReport) -> None:
    report.refusals += [str(refusal.error(adapter.events_table)) for refusal in adapter.survey.refusals]
    for name, rows in adapter.side_rows().items():
        report.refusals += [str(refusal.error(adapter.table(name))) for refusal in rows.refusals]


def _check_rows(adapter: OwnData, report: CheckReport, look: Look) -> None:
    refused: MalformedFile | None = None
    ids = EventIds()
    try:
        for batch in adapter.event_batches():
            report.add_days(batch.good, adapter)
            report.events += batch.good.height
            look("events", batch.good, adapter)
            if not adapter.distinct_ids:
                ids.add(batch.good["event_id"])
            if batch.dead.height:
                report.add_rows("events", batch.dead)
    except MalformedFile as error:
        refused = error
    doubts = adapter.doubts
    report.doubts += doubts
    report.counts, report.notes = adapter.counts, tuple(note for note in adapter.notes if note not in doubts)
    copies = ids.copies()
    report.events, report.repeats = report.events - copies, adapter.repeats + copies
    if refused is not None:
        raise refused
    edges = adapter.edge_rows
    for rows in (*adapter.side_rows().values(), *([edges] if edges is not None else [])):
        report.doubts += rows.doubts
    for table, dead in adapter.left_out().items():
        report.add_rows(table, dead)
    if edges is not None:
        report.refusals += [str(refusal.error(adapter.table("edges"))) for refusal in edges.refusals]
        report.edges = edges.frame.height
    posts, users = adapter.posts(), adapter.users()
    report.posts, report.users = posts.height, users.height
    for table, rows in (("posts", posts), ("users", users), *([] if edges is None else [("edges", edges.frame)])):
        look(table, rows, adapter)
