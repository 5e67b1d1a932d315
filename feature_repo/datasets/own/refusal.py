"""Why a column as a whole cannot be read: what `mixer data check` lists and what ends an ingestion."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.files import TableFiles
from feature_repo.datasets.own.reader import RawBatch


@dataclass(frozen=True)
class Refusal:
    """One sentence about a column; `problem` names the value and the remedy."""

    file: str
    column: str | None
    row: int | None
    problem: str

    def error(self, table: TableFiles) -> MalformedFile:
        return MalformedFile(table.root / self.file, self.problem, column=self.column, row=self.row)


@dataclass(frozen=True)
class Example:
    """Where a value stands."""

    value: str
    file: str
    row: int


def first_where(mask: pl.Series, values: pl.Series, batch: RawBatch) -> Example:
    """The first value of `values` at which `mask` is true."""
    place = int(mask.arg_true()[0])
    return Example(str(values[place])[:60], batch.file, int(batch.rows[place]))
