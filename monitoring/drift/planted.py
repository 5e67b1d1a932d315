"""Planting a fault on purpose: one feature column shifted, and labelled so in every report."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from feature_repo.heads import HEADS, judged_heads
from monitoring.drift.columns import LABEL, feature_columns
from monitoring.drift.policy import DriftPolicy


@dataclass(frozen=True)
class PlantedShift:
    """A copy of the rows with one column shifted, and the words that every report says about it."""

    rows: pl.DataFrame
    column: str
    description: str


def planted_column(reference: pl.DataFrame, policy: DriftPolicy | None = None) -> str:
    """The column to plant a fault in: the posts' rate of the action that decides, over the window in which it varies most.

    That action is the most common one of the policy's `deciding_heads`, else of all that the labels of `reference` can judge.
    Where its rates are constant or the frame has no labels, the feature of most distinct values among those that can decide.
    """
    policy = policy or DriftPolicy()
    columns = [name for name in feature_columns(reference) if not policy.may_move(name)]
    distinct = reference.select(pl.col(columns).n_unique()).row(0, named=True)
    for head in _judged(reference, policy):
        rates = [name for name in columns if name.startswith(f"post.{head}_rate.") and distinct[name] > 1]
        if rates:
            return max(rates, key=distinct.__getitem__)
    return max(columns, key=distinct.__getitem__)


def _judged(reference: pl.DataFrame, policy: DriftPolicy) -> tuple[str, ...]:
    """The heads that the labels can judge, commonest first."""
    labels = [f"{LABEL}{head}" for head in HEADS]
    if not set(labels) <= set(reference.columns):
        return ()
    return judged_heads(reference.select(labels).to_numpy(), chosen=policy.deciding_heads or ())


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
