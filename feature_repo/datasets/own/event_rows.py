"""One batch of a file's rows as events of the contract, and the rows that are none with their reason."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import or_

import polars as pl

from feature_repo.contracts import (
    DURATIONS,
    EVENTS,
    HISTORY_BEFORE,
    RESERVED_ID,
    SplitEvents,
    is_made_up,
    split_events,
)
from feature_repo.datasets.own.actions import IMPRESSION, ActionReader, Happened
from feature_repo.datasets.own.authors import AuthorLookup
from feature_repo.datasets.own.columns import Columns
from feature_repo.datasets.own.id_columns import IdNumbers, IdReading, id_faults
from feature_repo.datasets.own.mapping import EventsMapping
from feature_repo.datasets.own.number_columns import cast_number
from feature_repo.datasets.own.reader import KIND, RawBatch
from feature_repo.datasets.own.reasons import NO_TEXT, Reasons, cells
from feature_repo.datasets.own.times import Bounds, TimeReading
from feature_repo.plausible_times import CLOCK_SKEW
from feature_repo.surfaces import DEFAULT_SURFACE

MOST_SURFACE_CHARACTERS = 64
TEXTS = ("release", "request_id")
PLAIN = {"position": pl.Int32, "propensity": pl.Float64, "value": pl.Float64}
SCHEMA: dict[str, pl.DataType] = dict(pl.from_arrow(EVENTS.empty_table()).schema)
LEFT_OUT_SCHEMA = {
    "reason": pl.String,
    "source_file": pl.String,
    "source_row": pl.Int64,
    "source_column": pl.String,
    "source_value": pl.String,
    "raw": pl.String,
}
DEAD_SCHEMA = {**SCHEMA, **LEFT_OUT_SCHEMA}
PLACE, VALUE_COLUMN = "\0place", "\0value column"  # where an event is from: names that no column of files can have


@dataclass(frozen=True)
class MappedBatch:
    """Events and dead rows of one batch, and how many rows the mapping skips on purpose."""

    events: SplitEvents
    skipped: int
    silent: int  # rows in which no column said that anything happened


class EventRows:
    """Maps batches of one dataset; all decisions about columns are made before."""

    def __init__(
        self,
        mapping: EventsMapping,
        columns: Columns,
        actions: ActionReader,
        readings: dict[str, IdReading],
        time: TimeReading,
        bounds: Bounds,
        ids: IdNumbers,
        authors: AuthorLookup | None = None,
    ) -> None:
        self.mapping, self.columns, self.actions = mapping, columns, actions
        self.readings, self.time, self.bounds, self.ids = readings, time, bounds, ids
        self.authors = authors or AuthorLookup(ids)
        self._file_hash: dict[str, str] = {}

    @property
    def source_columns(self) -> list[str]:
        """Every column of the files that is read."""
        return list(dict.fromkeys([*self.columns.of.values(), *self.actions.columns]))

    def map(self, batch: RawBatch) -> MappedBatch:
        """Map all rows of `batch`."""
        reasons = Reasons(batch.frame.height)
        rows = self._row_columns(batch, reasons)
        parts, skipped, silent = self._parts(batch, rows, reasons)
        broken = reasons.series()
        dead = self._dead(batch, rows, reasons, broken) if broken is not None else pl.DataFrame(schema=DEAD_SCHEMA)
        good = pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)
        net = split_events(good)  # the contract's own rules have the last word
        if net.dead.height:
            dead = pl.concat([dead, self._against_the_contract(batch, rows, reasons)])
        return MappedBatch(SplitEvents(net.good, dead), skipped, silent)

    def numbered(self, batch: RawBatch) -> pl.DataFrame:
        """given_id, occurred_at and source_row of the rows that are events."""
        reasons = Reasons(batch.frame.height)
        rows = self._row_columns(batch, reasons)
        self._parts(batch, rows, reasons)
        given = _as_text(batch.frame[self.columns["event_id"]])
        return pl.DataFrame({"given_id": given, "occurred_at": rows["occurred_at"], "source_row": batch.rows}).filter(
            reasons.open()
        )

    def _against_the_contract(self, batch: RawBatch, rows: pl.DataFrame, reasons: Reasons) -> pl.DataFrame:
        """The events of readable rows that break a rule of the contract, with their place. Rare, so they are mapped again."""
        places = pl.int_range(batch.frame.height, eager=True).alias(PLACE)
        parts, _, _ = self._parts(batch, rows.with_columns(places), reasons)
        dead = split_events(pl.concat(parts, how="vertical")).dead
        raw = batch.frame.select(name for name in batch.frame.columns if not name.endswith(KIND))[dead[PLACE]]
        # A rule of the contract begins with the column that breaks it.
        ours = dead["reason"].str.extract(r"^(\w+)").replace({"product": "surface"})
        theirs = ours.replace_strict(self.columns.of, default=None, return_dtype=pl.String)
        theirs = theirs.zip_with((ours != "value").fill_null(True), dead[VALUE_COLUMN])
        return dead.with_columns(
            pl.lit(batch.file).alias("source_file"),
            batch.rows[dead[PLACE]].alias("source_row"),
            theirs.alias("source_column"),
            cells(raw, theirs).alias("source_value"),
            raw_lines(raw).alias("raw"),
        ).select(pl.col(name).cast(kind) for name, kind in DEAD_SCHEMA.items())

    # ---- what every event of a row shares -------------------------------------------------------------------------
    def _row_columns(self, batch: RawBatch, reasons: Reasons) -> pl.DataFrame:
        """The columns that do not depend on the action, one row per source row."""
        frame = batch.frame
        user, post = (self._id(ours, frame, reasons) for ours in ("user_id", "post_id"))
        author = self._author(frame, post, reasons)
        at = self._time(frame, reasons)
        columns: dict[str, pl.Series] = {
            "user_id": user,
            "post_id": post,
            "author_id": author,
            "product": self._surface(frame, reasons),
        }
        for ours, kind in PLAIN.items():
            columns[ours] = self._number(ours, kind, frame, reasons)
        columns["value"] = columns["value"] * self.mapping.value_times
        for ours in TEXTS:
            columns[ours] = self._text(ours, frame, reasons)
        columns["occurred_at"] = at
        rows = pl.DataFrame([values.alias(name) for name, values in columns.items()])
        return rows.with_columns(self._event_id(batch, rows, reasons).alias("event_id"))

    def _id(self, ours: str, frame: pl.DataFrame, reasons: Reasons) -> pl.Series:
        column = self.columns[ours]
        texts = self.readings[ours].texts(frame[column])
        if (faults := id_faults(texts)) is not None:
            reasons.add_texts(faults, f"{ours} (column {column!r})", column)
            texts = texts.set(faults.is_not_null(), None)
        reasons.add(texts.is_null() & reasons.open(), f"{ours} is empty (column {column!r}); give every row an id", column)
        return self.ids.numbers(ours.removesuffix("_id"), texts)

    def _author(self, frame: pl.DataFrame, post: pl.Series, reasons: Reasons) -> pl.Series:
        if "author_id" not in self.columns:
            return self.authors.of(post)
        texts = self.readings["author_id"].texts(frame[self.columns["author_id"]])
        if (faults := id_faults(texts)) is not None:
            reasons.add_texts(faults, f"author_id (column {self.columns['author_id']!r})", self.columns["author_id"])
            texts = texts.set(faults.is_not_null(), None)
        return self.authors.filled(self.ids.numbers("author", texts), post)

    def _time(self, frame: pl.DataFrame, reasons: Reasons) -> pl.Series:
        column = self.columns["occurred_at"]
        return believed_times(frame[column], column, self.time, self.bounds, reasons)

    def _surface(self, frame: pl.DataFrame, reasons: Reasons) -> pl.Series:
        if "surface" not in self.columns:
            return pl.repeat(self.mapping.surface or DEFAULT_SURFACE, frame.height, eager=True)
        column = self.columns["surface"]
        surface = _as_text(frame[column]).str.strip_chars()
        if self.mapping.surface is not None:
            surface = surface.fill_null(self.mapping.surface)
        blank = (surface.is_null() | (surface == "")).fill_null(True)
        reasons.add(blank, f"surface is empty (column {column!r}); name the place where it was shown, or set `surface`", column)
        long = (surface.str.len_chars() > MOST_SURFACE_CHARACTERS).fill_null(False)
        if (kept := surface == HISTORY_BEFORE).any():
            told = "surface is the platform's own name for undated events from before the log; name the surface otherwise"
            reasons.add(kept, told, column)
        reasons.add(long, f"surface has more than {MOST_SURFACE_CHARACTERS} characters", column)
        return surface

    def _number(self, ours: str, kind: pl.DataType, frame: pl.DataFrame, reasons: Reasons) -> pl.Series:
        if ours not in self.columns:
            return pl.repeat(None, frame.height, dtype=kind, eager=True)
        column = self.columns[ours]
        numbers, lost = cast_number(frame[column], kind)
        reasons.add(lost, f"{ours} is no {'whole ' if kind.is_integer() else ''}number that fits", column)
        return numbers

    def _text(self, ours: str, frame: pl.DataFrame, reasons: Reasons) -> pl.Series:
        if ours not in self.columns:
            return pl.repeat(None, frame.height, dtype=pl.String, eager=True)
        text = _as_text(frame[self.columns[ours]])
        blank = blanks(text)
        return text if blank is None else text.set(blank, None)

    def _event_id(self, batch: RawBatch, rows: pl.DataFrame, reasons: Reasons) -> pl.Series:
        """The given id; else one of place and content, so that reading the same file again gives the same id."""
        place = self._file_hash.setdefault(batch.file, hashlib.sha256(batch.file.encode()).hexdigest()[:8])
        made = pl.concat_str(
            pl.lit(f"{place}-"), batch.rows, pl.lit("-"), pl.col("user_id"), pl.lit("-"), pl.col("post_id"), pl.lit("-"),
            pl.col("occurred_at").dt.epoch("us"),
        )  # fmt: skip
        if "event_id" not in self.columns:
            return rows.select(made).to_series()
        given = _as_text(batch.frame[self.columns["event_id"]])
        if (blank := blanks(given)) is not None:
            told = f"event_id is blank (column {self.columns['event_id']!r}); leave the cell empty, or give an id"
            reasons.add(blank, told, self.columns["event_id"])
        reasons.add(is_made_up(given), RESERVED_ID, self.columns["event_id"])
        return given if not given.null_count() else pl.select(pl.coalesce(given, rows.select(made).to_series())).to_series()

    # ---- one part per action --------------------------------------------------------------------------------------
    def _parts(self, batch: RawBatch, rows: pl.DataFrame, reasons: Reasons) -> tuple[list[pl.DataFrame], int, int]:
        """Events by action, how many rows are skipped, and in how many nothing happened."""
        height = batch.frame.height
        found: list[Happened] = []
        skipped = pl.repeat(False, height, eager=True)
        if self.actions.column is not None:
            raw = batch.frame[self.actions.column]
            action, skipped = self.actions.by_value(raw)
            reasons.add(raw.is_null() & ~skipped, f"action is empty (column {self.actions.column!r})", self.actions.column)
            told = "action is not mapped: name it under `actions`, or map it to null to skip such rows"
            reasons.add(action.is_null() & ~skipped & raw.is_not_null(), told, self.actions.column)
            found.append(Happened(action.is_not_null(), action))
        elif self.mapping.action is not None:
            found.append(Happened(pl.repeat(True, height, eager=True), self.actions.canonical(self.mapping.action)))
        found += self.actions.by_column(batch.frame, reasons)
        if self.mapping.impressions == "rows":
            found.append(Happened(pl.repeat(True, height, eager=True), IMPRESSION))
        self._refuse_odd_values(found, rows, reasons)
        alive = reasons.open() & ~skipped
        parts = [self._part(rows, alive & one.holds, one) for one in found]
        any_ = reduce(or_, [one.holds for one in found], pl.repeat(False, height, eager=True))
        return [part for part in parts if part.height], int(skipped.sum()), int((alive & ~any_).sum())

    def _refuse_odd_values(self, found: list[Happened], rows: pl.DataFrame, reasons: Reasons) -> None:
        for one in found:
            below = ((rows["value"] if one.value is None else one.value) < 0).fill_null(False) & one.holds
            if not below.any():
                continue
            action = one.action
            timed = action.is_in(DURATIONS).fill_null(False) if isinstance(action, pl.Series) else action in DURATIONS
            reasons.add(below & timed, "value is negative, but it is milliseconds", self._value_column(one))

    def _part(self, rows: pl.DataFrame, chosen: pl.Series, one: Happened) -> pl.DataFrame:
        columns = [pl.lit(one.action).alias("action") if isinstance(one.action, str) else one.action.alias("action")]
        if one.value is not None:
            columns.append(one.value.alias("value"))
        schema = SCHEMA
        if PLACE in rows.columns:
            schema = {**SCHEMA, PLACE: pl.Int64, VALUE_COLUMN: pl.String}
            columns.append(pl.lit(self._value_column(one), pl.String).alias(VALUE_COLUMN))
        part = rows.with_columns(columns)
        if not chosen.all():
            part = part.filter(chosen)
        if self.actions.wide:  # the other events of a row need ids of their own
            other = pl.col("action") != IMPRESSION
            told_apart = pl.concat_str("event_id", pl.lit(":"), "action")
            part = part.with_columns(event_id=pl.when(other).then(told_apart).otherwise("event_id"))
        return part.select(pl.col(name).cast(kind) for name, kind in schema.items())

    def _value_column(self, one: Happened) -> str | None:
        """The column of the files that is the value of these events."""
        return self.columns.of.get("value") if one.value is None else one.column

    def _dead(self, batch: RawBatch, rows: pl.DataFrame, reasons: Reasons, broken: pl.Series) -> pl.DataFrame:
        chosen = broken.is_not_null()
        kept = [name for name in batch.frame.columns if not name.endswith(KIND)]
        raw = batch.frame.filter(chosen).select(kept)
        held = rows.filter(chosen)
        column, value = reasons.blamed(batch.frame)
        action = pl.lit(None, pl.String)
        if self.actions.column is not None:
            action = raw[self.actions.column].cast(pl.String)
        return held.with_columns(
            action.alias("action"),
            broken.filter(chosen).alias("reason"),
            pl.lit(batch.file).alias("source_file"),
            batch.rows.filter(chosen).alias("source_row"),
            column.alias("source_column"),
            value.alias("source_value"),
            raw_lines(raw).alias("raw"),
        ).select(pl.col(name).cast(kind) for name, kind in DEAD_SCHEMA.items())


def believed_times(raw: pl.Series, column: str, reading: TimeReading, bounds: Bounds, reasons: Reasons) -> pl.Series:
    """Datetime (us, UTC) of `raw`, as `reading` reads it; `reasons` gets why a row has no time within `bounds`."""
    at = reading.times(raw)
    empty = raw.is_null()
    if empty.any():
        reasons.add(empty, f"occurred_at is empty (column {column!r}); every event needs its time", column)
    if (skipped := reading.skipped(raw, at)) is not None:
        told = f"occurred_at does not exist in {reading.zone}, where the clock was put forward: correct it, or write it in UTC"
        reasons.add(skipped, told, column)
    reasons.add(at.is_null() & ~empty, f"occurred_at is no time as {reading.told}", column)
    late = f"occurred_at is in the future, more than {CLOCK_SKEW // timedelta(hours=1)} h ahead: correct the clock or the zone"
    reasons.add(at > bounds.latest, late, column)
    early = f"occurred_at is before {bounds.earliest:%Y-%m-%d}: set `earliest` in the mapping if it is right"
    reasons.add(at < bounds.earliest, early, column)
    return at


def raw_lines(rows: pl.DataFrame) -> pl.Series:
    """String (n,): each row as JSON, as it stands in the file. Values that JSON does not have are shown as Python does."""
    if rows.width and all(kind.is_integer() or kind in (pl.String, pl.Boolean) for kind in rows.dtypes):
        return rows.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return pl.Series([json.dumps(row, default=str) for row in rows.to_dicts()], dtype=pl.String)


def _as_text(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, NO_TEXT):
        return pl.Series(values.name, [None] * values.len(), pl.String)
    return values.cast(pl.String)


def blanks(texts: pl.Series) -> pl.Series | None:
    """Boolean (n,): empty or nothing but white space, false for null; None where no text is."""
    # A text that begins with a visible ASCII character is not blank: comparing is cheaper than stripping.
    if not ((texts < "!") | (texts >= "\x7f")).any():
        return None
    return (texts.str.strip_chars() == "").fill_null(False)
