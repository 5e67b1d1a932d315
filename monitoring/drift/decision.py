"""The drift decision: a pure function of the reference rows, the window's rows, a policy and the decisions before it.

Feature drift warns. Score shift, calibration error and delayed-label quality decide, once they repeat in k of n windows. Two
things decide at once: a gross shift of a column (a broken feed: retrain) and a collapse of quality on sound inputs (the
release is at fault: roll back).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from monitoring.drift.columns import column_drift, feature_columns, sample_rows, score_columns
from monitoring.drift.heads import head_drift
from monitoring.drift.policy import DriftPolicy
from monitoring.drift.verdict import ColumnDrift, DriftDecision, HeadDrift, Verdict


def decide(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    policy: DriftPolicy | None = None,
    history: Sequence[DriftDecision] = (),
    *,
    at: datetime | None = None,
    label: str = "",
    planted: str | None = None,
) -> DriftDecision:
    """Decide on the window `current` against `reference`.

    Both frames carry features named `<block>.<name>`, `prediction_<head>` and `label_<head>`, and should carry `user_id`, so
    that a user's rows are not taken for independent. Reference predictions must be out of sample (null where they are not):
    a model's fit to its own training rows is no yardstick. `history` holds earlier decisions, oldest first. `at` is the
    moment of the decision (default now); `label` names the window, `planted` the fault planted in it, for the reports.
    Raises ValueError if the reference has no feature or prediction column.
    """
    policy, at = policy or DriftPolicy(), at or datetime.now(UTC)
    features, scores = feature_columns(reference), score_columns(reference)
    if not features and not scores:
        raise ValueError(f"the reference has no column named <block>.<name> or prediction_<head>, but {reference.columns}")
    parts = dict(at=at, label=label, planted=planted, rows_reference=reference.height, rows_current=current.height)
    if min(reference.height, current.height) < policy.min_rows:
        reason = (
            f"too few rows to decide: {reference.height:,} in the reference, {current.height:,} in the window, "
            f"{policy.min_rows:,} are needed on either side"
        )
        return DriftDecision("warn", columns=(), heads=(), signals=(), drifted_share=0.0, reasons=(reason,), **parts)
    sampled = [sample_rows(frame, policy.sample_rows, policy.seed) for frame in (reference, current)]
    columns = column_drift(*sampled, features, "feature", policy) + column_drift(*sampled, scores, "score", policy)
    heads = head_drift(reference, current, policy)
    signals = soft_signals(columns, heads)
    verdict, reasons = weigh(columns, heads, signals, policy, history, at)
    share = drifted_share(columns, policy)
    return DriftDecision(
        verdict, columns=columns, heads=heads, signals=tuple(signals), drifted_share=share, reasons=tuple(reasons), **parts
    )


def soft_signals(columns: Sequence[ColumnDrift], heads: Sequence[HeadDrift]) -> dict[str, str]:
    """Signals of this window that decide once they repeat: name -> what was seen."""
    signals = {
        f"score:{column.name}": f"{column.name} is distributed otherwise than in the reference (PSI {column.psi:.2f})"
        for column in columns
        if column.family == "score" and column.drifted
    }
    for head in (head for head in heads if head.decides):
        now = head.current
        if head.miscalibrated:
            signals[f"calibration:{head.head}"] = (
                f"{head.head}: predicted over observed is {now.calibration:.2f} "
                f"(99 % interval {now.calibration_low:.2f} to {now.calibration_high:.2f})"
            )
        if head.degraded and head.reference is not None:
            signals[f"quality:{head.head}"] = f"{head.head}: AUC fell from {head.reference.auc:.3f} to {now.auc:.3f}"
    return signals


def weigh(
    columns: Sequence[ColumnDrift],
    heads: Sequence[HeadDrift],
    signals: dict[str, str],
    policy: DriftPolicy,
    history: Sequence[DriftDecision],
    at: datetime,
) -> tuple[Verdict, list[str]]:
    """The verdict and its reasons, the deciding ones first."""
    lived = [decision for decision in history if decision.planted is None]
    gross = [column for column in columns if column.gross]
    collapsed = [head for head in heads if head.decides and head.collapsed and head.reference is not None]
    if collapsed and not any(column.family == "feature" for column in gross):
        return "rollback", [
            f"{head.head}: AUC collapsed from {head.reference.auc:.3f} to {head.current.auc:.3f} while no input shifted "
            "grossly: the release is at fault"
            for head in collapsed
        ]
    asked = _retraining_in_cool_down(lived, policy, at)
    answered = set() if asked is None else set(asked.gross)
    new_gross = [column for column in gross if column.name not in answered]
    repeated = {name: text for name, text in signals.items() if _windows_with(name, lived, policy) + 1 >= policy.breaches}
    reasons = [_gross_reason(column) for column in gross]
    reasons += [f"{text}, seen in {policy.breaches} of the newest {policy.windows} windows" for text in repeated.values()]
    reasons += [
        f"{text}: a first sign, decides when seen in {policy.breaches} of {policy.windows} windows"
        for name, text in signals.items()
        if name not in repeated
    ]
    reasons += _feature_warning(columns)
    if new_gross or (repeated and asked is None):
        return "retrain", reasons
    if asked is not None and (gross or repeated):
        until = (asked.at + policy.cool_down).isoformat(timespec="minutes")
        reasons.insert(0, f"a retraining was asked for at {asked.at.isoformat(timespec='minutes')}; cooling down until {until}")
    if reasons:
        return "warn", reasons
    return "ok", [f"no column of {len(columns)} drifted and no head of {len(heads)} lost quality"]


def drifted_share(columns: Sequence[ColumnDrift], policy: DriftPolicy) -> float:
    """Share of feature columns that drifted, weighted by the policy's importance; 0 without feature columns."""
    weights = {c.name: policy.importance.get(c.name, 1.0) for c in columns if c.family == "feature"}
    total = sum(weights.values())
    return sum(weights[c.name] for c in columns if c.family == "feature" and c.drifted) / total if total else 0.0


def _windows_with(signal: str, history: Sequence[DriftDecision], policy: DriftPolicy) -> int:
    newest = history[-(policy.windows - 1) :] if policy.windows > 1 else ()
    return sum(signal in decision.signals for decision in newest)


def _retraining_in_cool_down(history: Sequence[DriftDecision], policy: DriftPolicy, at: datetime) -> DriftDecision | None:
    asked = [d for d in history if d.verdict == "retrain" and at - policy.cool_down < d.at <= at]
    return asked[-1] if asked else None


def _feature_warning(columns: Sequence[ColumnDrift], shown: int = 5) -> list[str]:
    features = [column for column in columns if column.family == "feature"]
    drifted = sorted((c for c in features if c.drifted and not c.gross), key=lambda column: -column.psi)
    if not drifted:
        return []
    most = ", ".join(f"{column.name} (PSI {column.psi:.2f})" for column in drifted[:shown])
    return [f"{len(drifted)} of {len(features)} features drifted, most of all {most}; feature drift warns, it does not decide"]


def _gross_reason(column: ColumnDrift) -> str:
    missing = f", missing in {column.missing_current:.0%} of rows (before: {column.missing_reference:.0%})"
    return (
        f"{column.name} shifted grossly: PSI {column.psi:.1f}, mean moved by {column.shift_sigmas:+.1f} reference standard "
        f"deviations{missing if column.missing_current > column.missing_reference + 0.01 else ''}"
    )
