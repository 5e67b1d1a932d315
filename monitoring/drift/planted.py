"""Planting a fault on purpose: one feature column shifted, and labelled so in every report."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class PlantedShift:
    """A copy of the rows with one column shifted, and the words that every report says about it."""

    rows: pl.DataFrame
    column: str
    description: str


def plant_shift(rows: pl.DataFrame, column: str, *, sigmas: float = 6.0, reference: pl.DataFrame | None = None) -> PlantedShift:
    """Shift `column` of `rows` by `sigmas` standard deviations of the same column in `reference` (default: of `rows`).

    Raises ValueError for a column that is not there or that is constant, naming some that would do.
    """
    basis = rows if reference is None else reference
    if column not in rows.columns or column not in basis.columns:
        near = [name for name in rows.columns if "." in name][:8]
        raise ValueError(f"no column {column!r} to plant a shift in; there are for example {near}")
    spread = basis[column].cast(pl.Float64).fill_nan(None).std()
    if not spread:
        raise ValueError(
            f"column {column!r} is constant, so a shift in standard deviations of it is not defined; choose another"
        )
    shifted = rows.with_columns((pl.col(column).cast(pl.Float64) + sigmas * spread).alias(column))
    description = f"planted: {column} shifted by {sigmas:+g} standard deviations ({sigmas * spread:+.3g})"
    return PlantedShift(shifted, column, description)
