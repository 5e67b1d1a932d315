"""Why rows of a batch are no events: the first broken rule of each row."""

from __future__ import annotations

import polars as pl

_SHOWN = 60  # characters of a value in a reason


class Reasons:
    """Collects reasons for `height` rows; the first reason of a row stays."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._reason: pl.Series | None = None

    def add(self, broken: pl.Series, reason: str) -> None:
        """Rows where `broken` is true have `reason`."""
        broken = broken.fill_null(False)
        if broken.any():
            self._keep(pl.select(pl.when(broken).then(pl.lit(reason))).to_series())

    def add_values(self, broken: pl.Series, reason: str, values: pl.Series) -> None:
        """As `add`, with each row's value in the place of `{}`."""
        broken = broken.fill_null(False)
        if not broken.any():
            return
        before, _, after = reason.partition("{}")
        shown = _shown(values.filter(broken))
        told = pl.select(pl.concat_str(pl.lit(before), shown, pl.lit(after))).to_series()
        self._keep(pl.repeat(None, self.height, dtype=pl.String, eager=True).scatter(broken.arg_true(), told))

    def add_texts(self, reasons: pl.Series, subject: str) -> None:
        """Rows where `reasons` is not null have it, behind `subject`."""
        self._keep(pl.select(pl.concat_str(pl.lit(subject + " "), reasons)).to_series())

    def open(self) -> pl.Series:
        """Boolean (n,): rows without a reason so far."""
        return pl.repeat(True, self.height, eager=True) if self._reason is None else self._reason.is_null()

    def series(self) -> pl.Series | None:
        """String (n,), null where a row has no reason; None where no row has one."""
        return self._reason

    def _keep(self, reasons: pl.Series) -> None:
        self._reason = reasons if self._reason is None else self._reason.zip_with(self._reason.is_not_null(), reasons)


def _shown(values: pl.Series) -> pl.Series:
    """The values as text: cells that are text in quotes, so that blanks are seen."""
    if isinstance(values.dtype, pl.List | pl.Array | pl.Struct | pl.Binary | pl.Object):
        return pl.Series([f"of type {values.dtype}"] * values.len(), dtype=pl.String)
    text = values.cast(pl.String).str.slice(0, _SHOWN)
    if values.dtype != pl.String or values.name == "":
        return text
    return pl.select(pl.concat_str(pl.lit("'"), text, pl.lit("'"))).to_series()
