"""Delayed-label quality of every head in a window, against the reference."""

from __future__ import annotations

import math

import polars as pl

from monitoring.drift.columns import LABEL, PREDICTION, USER
from monitoring.drift.policy import DriftPolicy
from monitoring.drift.quality import HeadQuality, head_quality
from monitoring.drift.verdict import HeadDrift


def head_drift(reference: pl.DataFrame, current: pl.DataFrame, policy: DriftPolicy) -> tuple[HeadDrift, ...]:
    """Judge each head with `prediction_<head>` and `label_<head>` in `current` and enough positive labels."""
    heads = [name.removeprefix(PREDICTION) for name in current.columns if name.startswith(PREDICTION)]
    judged = {head: now for head in heads if (now := _quality(current, head)) is not None and _enough(now, policy)}
    deciding = policy.deciding_heads
    if deciding is None:
        deciding = sorted(judged, key=lambda head: -judged[head].positives)[: policy.most_deciding]
    found = []
    for head, now in judged.items():
        before = _quality(reference, head)
        enough = before is not None and _enough(before, policy)
        found.append(_judge(head, before if enough else None, now, policy, decides=head in deciding))
    return tuple(found)


def _quality(frame: pl.DataFrame, head: str) -> HeadQuality | None:
    prediction, label = f"{PREDICTION}{head}", f"{LABEL}{head}"
    if prediction not in frame.columns or label not in frame.columns:
        return None
    judged = frame.filter(pl.col(prediction).is_not_null() & pl.col(prediction).is_finite() & pl.col(label).is_not_null())
    if judged.is_empty():
        return None
    values = judged[prediction].cast(pl.Float64).to_numpy()
    # A user's rows err together only in part, so the number of users is already a cautious sample size here.
    users = judged[USER].n_unique() if USER in judged.columns else judged.height
    return head_quality(values, judged[label].cast(pl.Float64).to_numpy(), independent=users)


def _enough(quality: HeadQuality, policy: DriftPolicy) -> bool:
    return min(quality.positives, quality.rows - quality.positives) >= policy.min_positives


def _judge(head: str, before: HeadQuality | None, now: HeadQuality, policy: DriftPolicy, *, decides: bool) -> HeadDrift:
    tolerated = 1 - policy.calibration_tolerance
    surely_lost = float("-inf")
    if before is not None:
        surely_lost = before.auc - now.auc - policy.confidence_z * math.hypot(before.auc_error, now.auc_error)
    return HeadDrift(
        head=head,
        reference=before,
        current=now,
        miscalibrated=now.calibration_high < tolerated or now.calibration_low > 1 / tolerated,
        degraded=surely_lost > policy.auc_drop,
        collapsed=surely_lost > policy.auc_collapse,
        decides=decides,
    )
