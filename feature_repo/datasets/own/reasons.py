"""Why rows of a batch are left out: the first broken rule of each row, and the column and value of the files that broke it.

A reason never holds the row's value, which has a column of its own: rows that broke one rule have one reason and are counted
together.
"""

from __future__ import annotations

import polars as pl

# Types whose values no text stands for without loss: polars writes a time of day without its fraction.
NO_TEXT = (pl.List, pl.Array, pl.Struct, pl.Binary, pl.Object, pl.Time, pl.Duration)


class Reasons:
    """Collects reasons for `height` rows; the first reason of a row stays."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._reason: pl.Series | None = None
        self._column: pl.Series | None = None

    def add(self, broken: pl.Series, reason: str, column: str | None = None) -> None:
        """Rows where `broken` is true have `reason`; `column` of the files is to blame."""
        broken = broken.fill_null(False)
        if broken.any():
            self._keep(pl.select(pl.when(broken).then(pl.lit(reason))).to_series(), column)

    def add_texts(self, reasons: pl.Series, subject: str, column: str | None = None) -> None:
        """Rows where `reasons` is not null have it, behind `subject`."""
        self._keep(pl.select(pl.concat_str(pl.lit(subject + " "), reasons)).to_series(), column)

    def open(self) -> pl.Series:
        """Boolean (n,): rows without a reason so far."""
        return pl.repeat(True, self.height, eager=True) if self._reason is None else self._reason.is_null()

    def series(self) -> pl.Series | None:
        """String (n,), null where a row has no reason; None where no row has one."""
        return self._reason

    def blamed(self, rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """Column to blame and its value as text, String (m,), of the m rows that have a reason; null where none is known.

        rows: all columns of the files, one row for each of the batch.
        """
        if self._reason is None or self._column is None:
            nothing = pl.Series([], dtype=pl.String)
            return nothing, nothing
        chosen = self._reason.is_not_null()
        column = self._column.filter(chosen)
        return column, cells(rows.filter(chosen), column)

    def _keep(self, reasons: pl.Series, column: str | None) -> None:
        blamed = pl.select(pl.when(reasons.is_not_null()).then(pl.lit(column, pl.String))).to_series()
        if self._reason is None or self._column is None:
            self._reason, self._column = reasons, blamed
            return
        held = self._reason.is_not_null()
        self._reason, self._column = self._reason.zip_with(held, reasons), self._column.zip_with(held, blamed)


def cells(rows: pl.DataFrame, column: pl.Series) -> pl.Series:
    """String (n,): of each row the cell of the column that `column` (n,) names, as text; null where it names none."""
    value = pl.repeat(None, column.len(), dtype=pl.String, eager=True)
    for name in column.unique().drop_nulls():
        if name in rows.columns:
            value = value.zip_with((column != name).fill_null(True), _as_text(rows[name]))
    return value


def _as_text(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, NO_TEXT):
        return pl.Series([None if value is None else str(value) for value in values.to_list()], dtype=pl.String)
    return values.cast(pl.String)
