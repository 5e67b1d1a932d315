"""Posts, users and edges of your files as contract tables; what the files lack is filled from what the events show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import get_args

import polars as pl

from feature_repo.contracts import EDGES, POSTS, USERS, EdgeKind
from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.columns import Columns, existing, resolved
from feature_repo.datasets.own.event_rows import LEFT_OUT_SCHEMA, raw_lines
from feature_repo.datasets.own.files import TableFiles
from feature_repo.datasets.own.id_columns import IdCheck, IdNumbers, id_faults
from feature_repo.datasets.own.lists import NoList, attribute_columns, attribute_lists, embeddings, encoded, names_of
from feature_repo.datasets.own.mapping import (
    EdgeColumn,
    EdgesMapping,
    FilesMapping,
    Mapping,
    PostColumn,
    PostsMapping,
    UserColumn,
    UsersMapping,
)
from feature_repo.datasets.own.number_columns import cast_number
from feature_repo.datasets.own.reader import KIND, TableReader
from feature_repo.datasets.own.reasons import Reasons
from feature_repo.datasets.own.refusal import Refusal
from feature_repo.datasets.own.times import Bounds, TimeCheck, TimeReading

FILE, ROW = "\0file", "\0row"  # columns that no file can have: where a row stands

MEDIA = "unknown"  # kind of a post of which nothing is said

_SCHEMAS = {
    name: dict(pl.from_arrow(schema.empty_table()).schema)
    for name, schema in (("posts", POSTS), ("users", USERS), ("edges", EDGES))
}
EMBEDDING = pl.List(pl.Float32)


@dataclass(frozen=True)
class TableRows:
    """One table of the files as it goes into the lake, and what was left out on the way."""

    frame: pl.DataFrame
    dead: pl.DataFrame  # columns of LEFT_OUT_SCHEMA
    forms: dict[str, str]  # kind of id -> "number" or "text"
    refusals: list[Refusal]
    doubts: list[str]


@dataclass
class SideTable:
    """All rows of one table of the files, column by column, and why rows are left out."""

    name: str
    table: TableFiles
    mapping: FilesMapping
    ids: IdNumbers
    bounds: Bounds
    names: tuple[str, ...]
    extra: tuple[str, ...] = ()  # columns of the files that are read beside the mapped ones
    forms: dict[str, str] = field(default_factory=dict)  # kind of id -> "number" or "text"
    refusals: list[Refusal] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)  # cells that were left empty because they could not be read

    def __post_init__(self) -> None:
        reader = TableReader(self.table)
        self.columns: Columns = resolved(self.table, reader.columns, self.names, self.mapping.columns)  # type: ignore[attr-defined]
        extra = [existing(self.table, reader.columns, name) for name in self.extra]
        wanted = list(dict.fromkeys([*self.columns.of.values(), *extra]))
        list(reader.batches(wanted[:1]) if self.table.format == "csv" else ())  # so that line numbers are exact
        self._batches = list(reader.batches(wanted))
        frames = [batch.frame.with_columns(pl.lit(batch.file).alias(FILE), batch.rows.alias(ROW)) for batch in self._batches]
        self.frame = (
            pl.concat(frames, how="vertical_relaxed") if frames else pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
        )
        self.reasons = Reasons(self.frame.height)
        self.rejected = [rows.with_columns(source_file=pl.lit(file)) for file, rows in reader.rejected.items() if rows.height]

    def id(self, ours: str, kind: str, *, required: bool = True) -> pl.Series | None:
        """Int64 numbers, or None where the column can't be read (the refusal is kept)."""
        column = self.columns[ours]
        check = IdCheck(column)
        for batch in self._batches:
            kinds = batch.frame[column + KIND] if column + KIND in batch.frame.columns else None
            check.add(batch.frame[column], kinds, batch)
        reading = check.decide()
        if isinstance(reading, Refusal):
            self.refusals.append(reading)
            return None
        if reading.form == "text" or kind not in self.forms:
            self.forms[kind] = reading.form
        texts = reading.texts(self.frame[column])
        if (faults := id_faults(texts)) is not None:
            self.reasons.add_texts(faults, f"{ours} (column {column!r})", column)
            texts = texts.set(faults.is_not_null(), None)
        if required:
            told = f"{ours} is empty (column {column!r}); give every row of {self.name} an id"
            self.reasons.add(texts.is_null(), told, column)
        return self.ids.numbers(kind, texts)

    def time(self, ours: str) -> pl.Series:
        """Datetime (us, UTC); null where the cell is empty, unreadable or out of bounds, which is counted as a doubt."""
        if ours not in self.columns:
            return pl.repeat(None, self.frame.height, dtype=pl.Datetime("us", "UTC"), eager=True)
        column = self.columns[ours]
        check = TimeCheck(column, self.mapping.time, self.bounds)
        for batch in self._batches:
            check.add(batch.frame[column], batch)
        reading = check.decide()
        if isinstance(reading, Refusal):
            self.refusals.append(reading)
        values = self.frame[column]
        times = reading.times(values) if isinstance(reading, TimeReading) else pl.repeat(
            None, values.len(), dtype=pl.Datetime("us", "UTC"), eager=True
        )  # fmt: skip
        outside = ~times.is_between(self.bounds.earliest, self.bounds.latest).fill_null(True)
        times = times.set(outside, None)
        self._doubt(ours, times.is_null() & values.is_not_null())
        return times

    def number(self, ours: str, kind: pl.DataType, times: float = 1.0) -> pl.Series:
        """Numbers of type `kind`, null where a cell is empty or no number, which is counted as a doubt."""
        if ours not in self.columns:
            return pl.repeat(None, self.frame.height, dtype=kind, eager=True)
        numbers, lost = cast_number(self.frame[self.columns[ours]], kind if times == 1.0 else pl.Float64())
        self._doubt(ours, lost)
        numbers = numbers.set(lost, None)
        return numbers if times == 1.0 else (numbers * times).round().cast(kind, strict=False)

    def text(self, ours: str, constant: str | None = None) -> pl.Series:
        """Text, null (or `constant`) where a cell is empty or blank; refuses columns that hold no text."""
        if ours not in self.columns:
            return pl.repeat(constant, self.frame.height, dtype=pl.String, eager=True)
        values = self.frame[self.columns[ours]]
        if isinstance(values.dtype, pl.List | pl.Struct | pl.Array | pl.Binary | pl.Object):
            self.refuse(ours, f"is of type {values.dtype}, not text; map another column")
            return pl.repeat(constant, values.len(), dtype=pl.String, eager=True)
        text = values.cast(pl.String)
        text = text.set((text.str.strip_chars() == "").fill_null(False), None)
        return text if constant is None else text.fill_null(constant)

    def lists(self, ours: str, read: Callable[[pl.Series], pl.Series], empty: pl.Series) -> pl.Series:
        """A column of lists by `read`; a NoList that it raises refuses the column."""
        if ours not in self.columns:
            return empty
        try:
            return read(self.frame[self.columns[ours]])
        except NoList as error:
            self.refuse(ours, str(error), error.row)
            return empty

    def refuse(self, ours: str, problem: str, row: int | None = None) -> None:
        """Keep a refusal of a column; `row`: index of the row to blame."""
        file = self.table.shown(self.table.files[0]) if row is None else self.frame[FILE][row]
        number = None if row is None else self.frame[ROW][row]
        self.refusals.append(Refusal(file, self.columns.of.get(ours, ours), number, problem))

    def _doubt(self, ours: str, lost: pl.Series) -> None:
        if count := int(lost.sum()):
            row = int(lost.arg_true()[0])
            value = str(self.frame[self.columns[ours]][row])[:60]
            where = f"{self.frame[FILE][row]}, column {self.columns[ours]!r}, row {self.frame[ROW][row]}"
            told = f"can't be read as {ours}"
            if ours == "created_at":
                told += ", or is in the future or before `earliest`"
            self.doubts.append(f"{where}: {value!r} {told}, so it is left empty (as in {count:,} cells)")

    def dead(self) -> pl.DataFrame:
        """The rows that are left out, in the columns of LEFT_OUT_SCHEMA."""
        reason = self.reasons.series()
        parts = [pl.DataFrame(schema=LEFT_OUT_SCHEMA), *self.rejected]
        if reason is not None:
            chosen = reason.is_not_null()
            held = self.frame.filter(chosen)
            kept = [name for name in held.columns if not name.endswith(KIND) and not name.startswith("\0")]
            column, value = self.reasons.blamed(self.frame)
            parts.append(
                pl.DataFrame(
                    {
                        "reason": reason.filter(chosen),
                        "source_file": held[FILE],
                        "source_row": held[ROW].cast(pl.Int64),
                        "source_column": column,
                        "source_value": value,
                        "raw": raw_lines(held.select(kept)),
                    }
                )
            )
        return pl.concat(parts, how="diagonal")

    def unreadable(self) -> TableRows:
        """Nothing but the refusals."""
        return TableRows(pl.DataFrame(schema=_SCHEMAS[self.name]), self.dead(), self.forms, self.refusals, self.doubts)

    def finished(self, columns: dict[str, pl.Series], schema: dict[str, pl.DataType], key: list[str]) -> TableRows:
        """The readable rows with the contract's types, the first of each key."""
        frame = pl.DataFrame([values.alias(name) for name, values in columns.items()]).select(
            pl.col(name).cast(kind) for name, kind in schema.items()
        )
        frame = frame.filter(self.reasons.open())
        once = frame.unique(subset=key, keep="first", maintain_order=True)
        if (twice := frame.height - once.height) > 0:
            self.doubts.append(f"{self.name}: {twice:,} rows repeat a {' and '.join(key)} of an earlier row and are left out")
        return TableRows(once, self.dead(), self.forms, self.refusals, self.doubts)


def refuse_missing_columns(files_of: Callable[[str], TableFiles | None], mapping: Mapping) -> None:
    """Raise MalformedFile where the mapping of posts, users or edges names a column that their files lack."""
    for name, columns in {"posts": PostColumn, "users": UserColumn, "edges": EdgeColumn}.items():
        table, mapped = files_of(name), getattr(mapping, name)
        if table is not None and mapped is not None:
            resolved(table, TableReader(table).columns, get_args(columns), mapped.columns)


def read_posts(table: TableFiles, mapping: PostsMapping, ids: IdNumbers, bounds: Bounds) -> TableRows:
    """Posts in the contract's columns; author_id and created_at are null where not given."""
    names = (
        "post_id",
        "author_id",
        "created_at",
        "topics",
        "media",
        "duration_ms",
        "language",
        "text",
        "in_reply_to",
        "embedding",
    )
    side = SideTable("posts", table, mapping, ids, bounds, names)
    _needed(side, "post_id")
    post = side.id("post_id", "post")
    if post is None:
        return side.unreadable()
    author = side.id("author_id", "author", required=False) if "author_id" in side.columns else None
    reply = side.id("in_reply_to", "post", required=False) if "in_reply_to" in side.columns else None
    no_ids = pl.repeat(None, side.frame.height, dtype=pl.Int64, eager=True)
    no_lists = pl.Series([[]] * side.frame.height, dtype=pl.List(pl.Int32))
    columns = {
        "post_id": post,
        "author_id": no_ids if author is None else author,
        "created_at": side.time("created_at"),
        "topics": side.lists(
            "topics", lambda values: encoded(names_of(values, mapping.topics_separator), "topic", ids.table), no_lists
        ),
        "media": side.text("media", mapping.media or MEDIA),
        "duration_ms": side.number("duration_ms", pl.Int64(), mapping.duration_times),
        "language": side.text("language"),
        "text": side.text("text"),
        "in_reply_to": no_ids if reply is None else reply,
    }
    columns["embedding"] = side.lists("embedding", embeddings, pl.repeat(None, side.frame.height, dtype=EMBEDDING, eager=True))
    largest = columns["embedding"].list.eval(pl.element().abs()).list.max()
    if zeros := int((largest == 0).sum()):
        side.doubts.append(
            f"{table.shown(table.files[0])}, column {side.columns['embedding']!r}: {zeros:,} rows hold an embedding of zeros "
            "alone, so these posts are not found by their content; leave the cell empty, or give their embedding"
        )
    return side.finished(columns, _SCHEMAS["posts"], ["post_id"])


def read_users(table: TableFiles, mapping: UsersMapping, ids: IdNumbers, bounds: Bounds) -> TableRows:
    """Users in the contract's columns."""
    names = ("user_id", "created_at", "language", "followers", "following", "attributes")
    side = SideTable("users", table, mapping, ids, bounds, names, extra=tuple(mapping.attributes))
    _needed(side, "user_id")
    user = side.id("user_id", "user")
    if user is None:
        return side.unreadable()
    attributes = pl.Series([[]] * side.frame.height, dtype=pl.List(pl.Int32))
    if mapping.attributes:
        try:
            attributes = attribute_columns([side.frame[name] for name in mapping.attributes], ids.table)
        except NoList as error:
            side.refuse(mapping.attributes[0], str(error))
    else:
        attributes = side.lists("attributes", lambda values: attribute_lists(values, ids.table), attributes)
    columns = {
        "user_id": user,
        "created_at": side.time("created_at"),
        "language": side.text("language"),
        "followers": side.number("followers", pl.Int64()),
        "following": side.number("following", pl.Int64()),
        "attributes": attributes,
    }
    return side.finished(columns, _SCHEMAS["users"], ["user_id"])


def read_edges(table: TableFiles, mapping: EdgesMapping, ids: IdNumbers, bounds: Bounds, since: datetime) -> TableRows:
    """Edges in the contract's columns; without a time an edge stands `since` the first event."""
    side = SideTable("edges", table, mapping, ids, bounds, ("user_id", "target_id", "kind", "weight", "created_at"))
    _needed(side, "user_id", "target_id")
    user, target = side.id("user_id", "user"), side.id("target_id", "author")
    if user is None or target is None:
        return side.unreadable()
    kind = side.text("kind", mapping.kind.value)
    known = [one.value for one in EdgeKind]
    side.reasons.add(~kind.is_in(known), f"kind is none of {', '.join(known)}", side.columns.of.get("kind"))
    columns = {
        "user_id": user,
        "target_id": target,
        "kind": kind,
        "weight": side.number("weight", pl.Float32()).fill_null(1.0),
        "derived": pl.repeat(False, side.frame.height, eager=True),
        "created_at": side.time("created_at").fill_null(since),
    }
    return side.finished(columns, _SCHEMAS["edges"], ["user_id", "target_id", "kind"])


def _needed(side: SideTable, *names: str) -> None:
    for ours in names:
        if ours not in side.columns:
            known = [name for name in side.frame.columns if not name.startswith("\0") and not name.endswith(KIND)]
            raise MalformedFile(
                side.table.files[0],
                f"no column stands for {ours}; map one under `{side.name}: columns:` (found {', '.join(known)})",
                column=ours,
            )
