"""Looks at files that nobody described yet: the guessed mapping, some mapped rows, and everything doubtful."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.own.adapter import OwnData
from feature_repo.datasets.own.authors import UNKNOWN_AUTHOR
from feature_repo.datasets.own.check import scratch_ids
from feature_repo.datasets.own.files import compression_of
from feature_repo.datasets.own.guess import Guess, guess_mapping
from feature_repo.datasets.own.mapping import FILE_NAME
from feature_repo.ids.owner_ids import with_owner_ids

SHOWN_ROWS = 10
SAMPLE_ROWS = 200_000  # of each file: enough to settle how times and ids are written
_WAY_OUT = "`mixer data check` reads every row and says what an ingestion would"


class MappingExists(RuntimeError):
    """A mapping is there already, and inspection overwrites none."""


@dataclass(frozen=True)
class FileFact:
    """One file: its table, name, size in bytes, and its rows where they are known without reading it."""

    table: str
    name: str
    size: int
    rows: int | None


@dataclass(frozen=True)
class Inspection:
    """What was found out about a place."""

    files: tuple[FileFact, ...]
    mapping: dict[str, Any]
    rows: pl.DataFrame | None  # mapped rows in the contract's columns, ids as their owner writes them
    readings: tuple[tuple[str, str], ...]  # column, how it is read
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    target: Path  # where the mapping belongs

    def text(self) -> str:
        """The mapping as YAML, the doubts on top as comments."""
        doubts = "".join(f"# doubtful: {doubt}\n" for doubt in self.doubts)
        head = f"# Guessed by `mixer data inspect`; docs/own-data.md explains every key.\n{doubts}"
        return head + yaml.safe_dump(self.mapping, sort_keys=False, allow_unicode=True, width=120)

    def write(self, *, force: bool = False) -> Path:
        """Write the mapping beside the files; raises MappingExists where one is there and `force` is not given."""
        if self.target.exists() and not force:
            raise MappingExists(f"{self.target} is there already; give --force to replace it")
        self.target.write_text(self.text(), encoding="utf-8")
        return self.target


def inspect(place: Path) -> Inspection:
    """Guess the mapping of a file or folder and read a sample with it. Raises MalformedFile where no file can be read."""
    guess = guess_mapping(place)
    root = place if place.is_dir() else place.parent
    with scratch_ids() as ids:
        adapter = OwnData(root, ids, guess.checked(), limit=SAMPLE_ROWS)
        try:
            rows, readings = _sample(adapter, guess)
            doubts = adapter.doubts
            notes = tuple(note for note in adapter.notes if note not in doubts)
            guess.doubts += doubts
        except (MalformedFile, ActionError) as error:
            guess.doubts.append(str(error))
            rows, readings, notes = None, (), ()
        files = tuple(_facts(adapter, guess))
    return Inspection(files, guess.mapping, rows, readings, tuple(guess.doubts), (*guess.notes, *notes), root / FILE_NAME)


def _sample(adapter: OwnData, guess: Guess) -> tuple[pl.DataFrame, tuple[tuple[str, str], ...]]:
    survey = adapter.survey
    guess.doubts += [str(refusal.error(adapter.events_table)) for refusal in survey.refusals]
    for name, side in adapter.side_rows().items():
        guess.doubts += [str(refusal.error(adapter.table(name))) for refusal in side.refusals]
        guess.doubts += side.doubts
    adapter.refuse_unreadable()
    if adapter.whole:
        with suppress(MalformedFile):  # what can't be read is told below
            _ = adapter.seen
    batch = next(adapter.event_batches())
    if batch.dead.height and not adapter.whole:  # else the doubts count all of them
        reason, count = batch.dead["reason"].value_counts(sort=True).row(0)
        guess.doubts.append(
            f"{batch.dead.height:,} of the first {batch.dead.height + batch.good.height:,} rows can't be read, as {count:,} "
            f"where {reason}; {_WAY_OUT}."
        )
    readings = [(ours, theirs) for ours, theirs in adapter.columns.of.items()]
    told = {"occurred_at": f" ({survey.time.told})"}
    told |= {ours: f" ({'whole numbers' if reading.form == 'number' else 'text'})" for ours, reading in survey.ids.items()}
    shown = _as_written(batch.good.sort("occurred_at").head(SHOWN_ROWS), adapter)
    return shown, tuple((ours, theirs + told.get(ours, "")) for ours, theirs in readings)


def _as_written(events: pl.DataFrame, adapter: OwnData) -> pl.DataFrame:
    """Ids and own actions as their owner writes them; what no file says is left out."""
    names = {one.slot: one.name for one in adapter.own_actions}
    events = with_owner_ids(events, adapter.ids).with_columns(pl.col("action").replace(names))
    unknown = pl.col("author_id").str.starts_with(UNKNOWN_AUTHOR)
    events = events.with_columns(author_id=pl.when(unknown).then(pl.lit(None, pl.String)).otherwise("author_id"))
    made = ["event_id"] if "event_id" not in adapter.columns else []
    return events.drop(made).select(column for column in events.drop(made).get_columns() if column.null_count() < events.height)


def _facts(adapter: OwnData, guess: Guess) -> list[FileFact]:
    facts = []
    for name in guess.mapping:
        table = adapter.events_table if name == "events" else adapter.table(name)
        for file in table.files if table is not None else ():
            rows = None
            if table.format == "parquet":
                rows = pl.scan_parquet(file).select(pl.len()).collect().item()
            elif file.stat().st_size < 1 << 26 and compression_of(file) is None:
                rows = file.read_bytes().count(b"\n") - (table.format == "csv" and table.header is None)
            facts.append(FileFact(name, table.shown(file), file.stat().st_size, rows))
    return facts
