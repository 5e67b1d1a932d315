"""Reads one dataset file, Parquet or CSV, and refuses it with file, column and row when it is malformed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.datasets.adapter import MalformedFile


@dataclass(frozen=True)
class RawColumn:
    """One column of a raw file. `low` and `high` are inclusive bounds; a value outside refuses the file."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    low: int | None = None
    high: int | None = None
    required: bool = True  # false: empty cells are allowed


def read_raw(file: Path, columns: Sequence[RawColumn]) -> pl.DataFrame:
    """The declared columns of `file` with their declared types, in file order; raises MalformedFile."""
    frame = _read_parquet(file, columns) if file.suffix == ".parquet" else _read_csv(file, columns)
    for column in columns:
        _check_values(file, frame, column)
    return frame


def _read_parquet(file: Path, columns: Sequence[RawColumn]) -> pl.DataFrame:
    try:
        _check_header(file, pq.read_schema(file).names, columns)
        frame = pl.read_parquet(file, columns=[column.name for column in columns])
    except (pa.ArrowInvalid, pl.exceptions.ComputeError) as error:
        raise MalformedFile(file, f"not a readable Parquet file ({error}); fetch it again") from error
    return cast_columns(file, frame, columns)


def _read_csv(file: Path, columns: Sequence[RawColumn]) -> pl.DataFrame:
    names = [column.name for column in columns]
    try:
        header = pl.read_csv(file, n_rows=0, infer_schema=False).columns
    except pl.exceptions.NoDataError as error:
        raise MalformedFile(file, "the file is empty; fetch it again") from error
    _check_header(file, header, columns)
    types = {column.name: column.dtype for column in columns}
    try:
        # All columns, not only the declared ones: the reader notices a row with too many fields only then.
        return pl.read_csv(file, schema_overrides=types, infer_schema=False).select(names)
    except pl.exceptions.ComputeError:
        # The fast reader does not say where it failed: read as text and find the first cell that does not fit.
        return cast_columns(file, _read_as_text(file, names), columns)


def _read_as_text(file: Path, names: list[str]) -> pl.DataFrame:
    try:
        return pl.read_csv(file, infer_schema=False).select(names)
    except pl.exceptions.ComputeError as error:
        with file.open(newline="") as stream:
            rows = csv.reader(stream)
            width = len(next(rows))
            for row, fields in enumerate(rows, start=1):
                if len(fields) > width:
                    raise MalformedFile(file, f"the header has {width} fields, this row {len(fields)}", row=row) from error
        raise MalformedFile(file, f"not a readable CSV file: {error}") from error


def _check_header(file: Path, found: Sequence[str], columns: Sequence[RawColumn]) -> None:
    for column in columns:
        if column.name not in found:
            raise MalformedFile(file, f"the column is missing; found {list(found)}", column=column.name)


def cast_columns(file: Path, frame: pl.DataFrame, columns: Sequence[RawColumn]) -> pl.DataFrame:
    """The declared columns of `frame` with their declared types; raises MalformedFile at the first cell that does not fit."""
    cast = []
    for column in columns:
        before = frame.get_column(column.name)
        try:
            after = _as_type(before, column.dtype)
        except pl.exceptions.PolarsError as error:
            raise MalformedFile(file, f"{before.dtype} cannot become {column.dtype}: {error}", column=column.name) from error
        lost = after.is_null() & before.is_not_null()
        if lost.any():
            row = int(lost.arg_true()[0])
            raise MalformedFile(file, f"{before[row]!r} is not a valid {column.dtype}", column=column.name, row=row + 1)
        cast.append(after)
    return pl.DataFrame(cast)


def _as_type(values: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    if values.dtype == pl.String and isinstance(dtype, pl.Datetime):
        return values.str.to_datetime(time_unit=dtype.time_unit, time_zone=dtype.time_zone, strict=False)
    return values.cast(dtype, strict=False)


def _check_values(file: Path, frame: pl.DataFrame, column: RawColumn) -> None:
    values = frame.get_column(column.name)
    if column.required and values.null_count():
        row = int(values.is_null().arg_true()[0])
        raise MalformedFile(file, "the cell is empty, but a value is required", column=column.name, row=row + 1)
    broken = pl.zeros(len(values), dtype=pl.Boolean, eager=True)
    if column.low is not None:
        broken = broken | (values < column.low).fill_null(False)
    if column.high is not None:
        broken = broken | (values > column.high).fill_null(False)
    if broken.any():
        row = int(broken.arg_true()[0])
        bounds = f"at least {column.low}" if column.high is None else f"from {column.low} to {column.high}"
        raise MalformedFile(file, f"{values[row]} is out of range: it must be {bounds}", column=column.name, row=row + 1)
