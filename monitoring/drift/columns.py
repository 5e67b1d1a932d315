"""Column drift of a whole frame: which columns are compared, on which rows, and what counts as drifted or gross."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import numpy as np
import polars as pl

from monitoring.drift.policy import DriftPolicy
from monitoring.drift.two_sample import Comparison, benjamini_hochberg, compare
from monitoring.drift.verdict import ColumnDrift

PREDICTION, LABEL, USER = "prediction_", "label_", "user_id"


def feature_columns(frame: pl.DataFrame) -> list[str]:
    """Columns named `<block>.<name>`, in the frame's order."""
    return [name for name in frame.columns if "." in name]


def score_columns(frame: pl.DataFrame) -> list[str]:
    """Columns named `prediction_<head>`, in the frame's order."""
    return [name for name in frame.columns if name.startswith(PREDICTION)]


def sample_rows(frame: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    """At most `rows` rows of `frame`, drawn without replacement by `seed`, in the frame's order."""
    if frame.height <= rows:
        return frame
    chosen = np.random.default_rng(seed).choice(frame.height, rows, replace=False)
    return frame[np.sort(chosen)]


def independent_rows(frame: pl.DataFrame) -> float:
    """Effective sample size of a value that is the same in all of a user's rows: (sum n)^2 / sum n^2 over users (Kish).

    Without a `user_id` column, the rows themselves.
    """
    if USER not in frame.columns or frame.is_empty():
        return float(frame.height)
    per_user = frame[USER].value_counts()["count"].to_numpy().astype(float)
    return float(per_user.sum() ** 2 / (per_user**2).sum())


def column_drift(
    reference: pl.DataFrame, current: pl.DataFrame, names: list[str], family: Literal["feature", "score"], policy: DriftPolicy
) -> tuple[ColumnDrift, ...]:
    """Compare the columns `names` of both frames; a column that `current` lacks counts as missing in every row."""
    independent = (independent_rows(reference), independent_rows(current))
    comparisons = [_compare_column(reference, current, name, family, independent) for name in names]
    adjusted = benjamini_hochberg(np.array([comparison.p for comparison in comparisons]))
    return tuple(_judge(name, family, c, float(q), policy) for name, c, q in zip(names, comparisons, adjusted, strict=True))


def _compare_column(
    reference: pl.DataFrame, current: pl.DataFrame, name: str, family: str, independent: tuple[float, float]
) -> Comparison:
    if name not in current.columns:
        current = current.with_columns(pl.lit(None, reference.schema[name]).alias(name))
    if family == "score":  # rows without a prediction were not scored: that is no missing value
        reference, current = reference.filter(pl.col(name).is_not_null()), current.filter(pl.col(name).is_not_null())
        independent = (independent_rows(reference), independent_rows(current))
    values_r, values_c = as_floats(reference[name], current[name])
    if not len(values_r) or not len(values_c):
        return Comparison("empty", 0.0, 1.0, 0.0, float("nan"), float(not len(values_r)), float(not len(values_c)))
    return compare(values_r, values_c, independent_reference=independent[0], independent_current=independent[1])


def as_floats(reference: pl.Series, current: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Both columns as float64 with NaN for null; text becomes codes of the reference's values, new values one more code."""
    if reference.dtype.is_numeric() or reference.dtype == pl.Boolean:
        return tuple(column.cast(pl.Float64).fill_null(float("nan")).to_numpy() for column in (reference, current))
    known = reference.cast(pl.String).drop_nulls().unique().sort()
    codes = {value: float(code) for code, value in enumerate(known)}
    return tuple(
        column.cast(pl.String)
        .replace_strict(
            codes, default=pl.when(column.is_null()).then(float("nan")).otherwise(float(len(codes))), return_dtype=pl.Float64
        )
        .to_numpy()
        if codes
        else np.full(len(column), np.nan)
        for column in (reference, current)
    )


def _judge(
    name: str, family: Literal["feature", "score"], comparison: Comparison, q: float, policy: DriftPolicy
) -> ColumnDrift:
    significant = q <= policy.alpha
    vanished = comparison.missing_current - comparison.missing_reference >= policy.gross_missing
    moved = comparison.psi >= policy.gross_psi or abs(comparison.shift_sigmas) >= policy.gross_sigmas
    telling = not policy.may_move(name)
    gross = significant and (vanished or (moved and telling))
    return ColumnDrift(
        name=name,
        family=family,
        q=q,
        drifted=bool(significant and (gross or (telling and comparison.psi >= policy.psi))),
        gross=bool(gross),
        **asdict(comparison),
    )
