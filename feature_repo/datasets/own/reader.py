"""Reads the files of a table in batches of bounded size, whatever their format, without losing a digit.

DuckDB reads and unpacks, polars where a Parquet file is plain. Cells of CSV stay text, values of JSON come as text beside
their JSON type, and Parquet keeps its types: what a cell means is decided later, once, for all formats.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.files import TableFiles, compression_of, head_of, head_rows
from feature_repo.datasets.own.parquet_rows import plain_frames, plain_spans

BATCH_ROWS = 250_000
MEMORY = "512MB"  # of DuckDB, all readings of a process together; more goes to disk
KIND = "\0kind"  # suffix of the column that holds the JSON types of another
_SAMPLED_LINES = 2_000  # of JSON, to learn the keys


@dataclass(frozen=True)
class RawBatch:
    """Rows of one file in file order; `rows` counts from 1, the header not counted."""

    file: str
    frame: pl.DataFrame
    rows: pl.Series  # Int64 (n,)


@dataclass
class TableReader:
    """The rows of one table. A line that is no row of a CSV file is kept in `rejected` after the first whole reading."""

    table: TableFiles
    rejected: dict[str, pl.DataFrame] = field(default_factory=dict)  # by file: source_row Int64, raw, reason

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in the order of the first file; of JSON lines the keys of the first 2,000 lines."""
        return self._columns_of(self.table.files[0])

    def batches(self, columns: Sequence[str], *, limit: int | None = None) -> Iterator[RawBatch]:
        """The rows of all files, `limit` of each at most. `columns` must exist in every file; raises MalformedFile."""
        for file in self.table.files:
            yield from self._file_batches(file, columns, limit)

    def _file_batches(self, file: Path, columns: Sequence[str], limit: int | None) -> Iterator[RawBatch]:
        shown = self.table.shown(file)
        known = self._columns_of(file)
        if self.table.format != "jsonl" and (missing := [name for name in columns if name not in known]):
            raise MalformedFile(file, f"the column is missing; found {', '.join(known)}", column=missing[0])
        if self.table.format == "parquet":
            _refuse_durations(file, columns)
        if self.table.format == "parquet" and (spans := _plain_spans(file, columns, limit)) is not None:
            yield from self._plain_batches(file, shown, columns, spans)
            return
        with _database().cursor() as connection:
            query = self._query(file, known, columns) + (f" LIMIT {limit}" if limit is not None else "")
            seen = 0
            try:
                reader = connection.sql(query).to_arrow_reader(BATCH_ROWS)
                for arrow in reader:
                    frame = _as_frame(file, arrow)
                    if self.table.format == "jsonl":
                        frame = _without_json_nulls(frame, columns)
                    yield RawBatch(shown, in_calendar(frame), self._row_numbers(shown, seen, frame.height))
                    seen += frame.height
            except duckdb.Error as error:
                raise MalformedFile(file, _parted_oddly(file) if _NO_ROWS in str(error) else _told(error)) from error
            if self.table.format == "csv" and limit is None:
                self.rejected.setdefault(shown, _rejected(connection))

    def _plain_batches(self, file: Path, shown: str, columns: Sequence[str], spans: Sequence[int]) -> Iterator[RawBatch]:
        seen = 0
        try:
            for frame in plain_frames(file, columns, spans, BATCH_ROWS):
                numbers = pl.int_range(seen + 1, seen + frame.height + 1, eager=True).alias("source_row")
                yield RawBatch(shown, in_calendar(frame), numbers)
                seen += frame.height
        except pl.exceptions.PolarsError as error:
            raise MalformedFile(file, _told(error)) from error

    def _row_numbers(self, shown: str, seen: int, height: int) -> pl.Series:
        """Numbers of the next `height` readable rows. Exact from the second reading on, when rejected lines are known."""
        places = np.arange(seen, seen + height, dtype=np.int64)
        if (rejects := self.rejected.get(shown)) is not None and rejects.height:
            lost = rejects["source_row"].unique().sort().to_numpy()
            places += np.searchsorted(lost - 1 - np.arange(len(lost)), places, side="right")
        return pl.Series("source_row", places + 1)

    def _columns_of(self, file: Path) -> tuple[str, ...]:
        if self.table.format == "jsonl":
            return _json_keys(file)
        if self.table.format == "parquet":
            try:
                return tuple(row[0] for row in duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet({_text(file)})").fetchall())
            except duckdb.Error as error:
                raise MalformedFile(file, _told(error)) from error
        if self.table.header is not None:
            return self.table.header
        rows = head_rows(file, self.table.delimiter, 1)
        if not rows:
            raise MalformedFile(file, "the file is empty; leave it out, or give it a header line")
        names = [name.strip() for name in rows[0]]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise MalformedFile(file, f"the header names {twice!r} twice; rename one, or list the names under `header`")
        return tuple(names)

    def _query(self, file: Path, known: Sequence[str], columns: Sequence[str]) -> str:
        if self.table.format == "parquet":
            chosen = ", ".join(_name(name) for name in columns) or "NULL AS nothing"
            return f"SELECT {chosen} FROM read_parquet({_text(file)})"
        if self.table.format == "jsonl":
            chosen = ", ".join(f"{_name(c)} ->> '$' AS {_name(c)}, json_type({_name(c)}) AS {_name(_kind(c))}" for c in columns)
            keys = ", ".join(f"{_name(name)}: 'JSON'" for name in columns)
            return (
                f"SELECT {chosen.replace(KIND, _KIND_SHOWN)} FROM read_ndjson({_text(file)}, columns = {{{keys}}}, "
                f"ignore_errors = true, compression = '{compression_of(file) or 'none'}')"
            )
        # Columns by place: two names that differ in case only would be one name to DuckDB.
        types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(known)))
        chosen = ", ".join(f"c{known.index(name)} AS {_name(name)}" for name in columns) or "NULL AS nothing"
        header = "false" if self.table.header is not None else "true"
        return (
            f"SELECT {chosen} FROM read_csv({_text(file)}, auto_detect = false, header = {header}, columns = {{{types}}}, "
            f"delim = {_text(self.table.delimiter)}, quote = '\"', escape = '\"', store_rejects = true, "
            f"compression = '{compression_of(file) or 'none'}')"
        )


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """DuckDB in memory, one for all readings of the process: opening one takes ten times as long as reading a small file."""
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    return connection


def _refuse_durations(file: Path, columns: Sequence[str]) -> None:
    """DuckDB reads them as bare numbers of a unit that nobody knows afterwards."""
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return  # DuckDB says what is wrong
    for name in columns:
        if name in schema.names and pa.types.is_duration(kind := schema.field(name).type):
            raise MalformedFile(file, f"is of type {kind}; store it as a number of milliseconds", column=name)


def _plain_spans(file: Path, columns: Sequence[str], limit: int | None) -> list[int] | None:
    """As `plain_spans`, and None where the file cannot be opened."""
    try:
        return plain_spans(file, columns, BATCH_ROWS, limit)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError):
        return None  # DuckDB says what is wrong


_CALENDAR = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)  # with room for any zone
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": timedelta(milliseconds=1), "us": timedelta(microseconds=1)}


def in_calendar(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame`, its dates and times beyond an end of the calendar set to that end: no text stands for them."""
    return frame.with_columns(
        ended
        for column in frame.get_columns()
        if isinstance(column.dtype, pl.Date | pl.Datetime) and (ended := _ended(column)) is not None
    )


def _ended(column: pl.Series) -> pl.Series | None:
    """`column` between the calendar's ends; None where it lies there."""
    kind = column.dtype
    if isinstance(kind, pl.Datetime) and kind.time_unit == "ns":
        return None  # which reach from 1677 to 2262
    unit = timedelta(days=1) if kind == pl.Date else _UNITS[kind.time_unit]
    first, last = ((end - _EPOCH) // unit for end in _CALENDAR)
    numbers = column.to_physical()
    if numbers.null_count() == len(numbers) or (numbers.min() >= first and numbers.max() <= last):
        return None
    return numbers.clip(first, last).cast(kind).alias(column.name)


_KIND_SHOWN = " (JSON type)"  # a NUL in a name is more than SQL takes


def _kind(column: str) -> str:
    return column + KIND


def _as_frame(file: Path, arrow: object) -> pl.DataFrame:
    try:
        frame = pl.from_arrow(arrow, rechunk=False)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise MalformedFile(file, f"holds a type that can't be read ({error}); store it as text") from error
    return frame.rename({name: name.replace(_KIND_SHOWN, KIND) for name in frame.columns if name.endswith(_KIND_SHOWN)})


def _without_json_nulls(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """JSON's null is a missing value."""
    return frame.with_columns(pl.when(pl.col(_kind(name)) != "NULL").then(pl.col(name)).alias(name) for name in columns)


_LINE_FAULTS = {
    "TOO MANY COLUMNS": "it has more columns than the header",
    "MISSING COLUMNS": "it has fewer columns than the header",
    "UNQUOTED VALUE": "a quote is not closed",
    "INVALID ENCODING": "it is not UTF-8",
    "LINE SIZE OVER MAXIMUM": "it is too long",
}


def _rejected(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    found = connection.execute(
        "SELECT line - 1, any_value(csv_line), min(error_type::VARCHAR) FROM reject_errors GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return pl.DataFrame(
        [(row, raw, f"the line is no row of the file: {_LINE_FAULTS.get(fault, fault.lower())}") for row, raw, fault in found],
        {"source_row": pl.Int64, "raw": pl.String, "reason": pl.String},
        orient="row",
    )


def _json_keys(file: Path) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    lines = head_of(file).splitlines()
    for number, line in enumerate(itertools.islice(lines, _SAMPLED_LINES), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the whole reading counts it, with its number
        if not isinstance(row, dict):
            raise MalformedFile(file, 'is no JSON object; write one object a line, as {"user_id": 1, ...}', row=number)
        keys |= dict.fromkeys(row)
    if not keys:
        raise MalformedFile(file, "has no JSON object in its first lines; write one object a line")
    return tuple(keys)


_NO_ROWS = "state machine reached an invalid state"  # DuckDB of lines of which it can't say where they end
_LINE_ENDS = re.compile("\r\n|\n|\r")


def _parted_oddly(file: Path) -> str:
    """Why the lines of a CSV file can't be told apart."""
    ends = [repr(end)[1:-1] for end in dict.fromkeys(_LINE_ENDS.findall(head_of(file)))]
    if len(ends) > 1:
        return f"its lines end in {len(ends)} ways, {' and '.join(ends)}; save the file with one kind of line end"
    return "its lines can't be told apart; save it again as CSV, with one kind of line end and every quote closed"


def _told(error: duckdb.Error | pl.exceptions.PolarsError) -> str:
    """The first sentence of an error, which may add advice on options of its library."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "not readable")
    return f"not readable: {first}"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
