"""What an ingestion would say of files, without one: every refusal, and the first rows of each kind that would be left out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.own.adapter import OwnData, RowCounts
from feature_repo.ids import IdTable

SHOWN = 3  # rows of each kind


@dataclass
class RowFault:
    """Rows that would be left out for one reason; `rows` are the first of them as (file, row, whole reason)."""

    kind: str
    count: int = 0
    rows: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass
class CheckReport:
    """What ingestion would say."""

    refusals: list[str] = field(default_factory=list)
    faults: dict[str, RowFault] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    counts: RowCounts = field(default_factory=RowCounts)
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

    def add_rows(self, dead: pl.DataFrame) -> None:
        """Count dead rows by the kind of their reason."""
        kinds = dead.with_columns(kind=pl.col("reason").map_batches(_kinds, return_dtype=pl.String))
        for (kind,), rows in kinds.partition_by("kind", as_dict=True, maintain_order=True).items():
            fault = self.faults.setdefault(kind, RowFault(kind))
            fault.count += rows.height
            wanted = rows.head(SHOWN - len(fault.rows)).select("source_file", "source_row", "reason")
            fault.rows += wanted.rows()


def _kinds(reasons: pl.Series) -> pl.Series:
    """Reasons without the value that each names."""
    named = reasons.str.replace_all(r"column '([^']*)'", 'column "$1"')
    return named.str.replace_all(r"'[^']*'", "…").str.replace_all(r" -?[0-9][0-9.-]*( |$)", " … ")


@contextmanager
def scratch_ids() -> Iterator[IdTable]:
    """A table of ids that is gone afterwards, so that looking at files changes nothing."""
    with tempfile.TemporaryDirectory(prefix="own-check-") as folder:
        yield IdTable(f"sqlite:///{Path(folder) / 'ids.sqlite'}")


def check(place: Path) -> CheckReport:
    """Read all files at `place` as an ingestion would, and write nothing."""
    with scratch_ids() as ids:
        report = CheckReport()
        try:
            adapter = OwnData(place, ids)
            _check_columns(adapter, report)
            if report.accepted:
                _check_rows(adapter, report)
        except (MalformedFile, ActionError) as error:
            report.refusals.append(str(error))
    return report


def _check_columns(adapter: OwnData, report: CheckReport) -> None:
    report.refusals += [str(refusal.error(adapter.events_table)) for refusal in adapter.survey.refusals]
    for name, rows in adapter.side_rows().items():
        report.refusals += [str(refusal.error(adapter.table(name))) for refusal in rows.refusals]


def _check_rows(adapter: OwnData, report: CheckReport) -> None:
    refused: MalformedFile | None = None
    try:
        for batch in adapter.event_batches():
            report.add_days(batch.good, adapter)
            if batch.dead.height:
                report.add_rows(batch.dead)
    except MalformedFile as error:
        refused = error
    report.counts, report.notes = adapter.counts, adapter.notes
    if refused is not None:
        raise refused
    edges = adapter.edge_rows
    sides = list(adapter.side_rows().values()) + ([edges] if edges is not None else [])
    for rows in sides:
        report.doubts += rows.doubts
        if rows.dead.height:
            report.add_rows(rows.dead)
    if edges is not None:
        report.refusals += [str(refusal.error(adapter.table("edges"))) for refusal in edges.refusals]
        report.edges = edges.frame.height
    report.posts, report.users = adapter.posts().height, adapter.users().height


def kind_shown(kind: str) -> str:
    """The kind of a reason on one line."""
    return re.sub(r"\s+", " ", kind).strip()
