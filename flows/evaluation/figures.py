"""Figures of several models on the same rows, each with an interval over resampled users, and their differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import HEADS, judged_heads
from flows.steps.progress import announce
from flows.training.evaluate import expected_calibration_error, head_metrics, ndcg_by_group

RESAMPLED = ("auc", "log_loss", "normalised_entropy", "ece")
NDCG = "ndcg_at_10_frozen"
INTERVAL_HEADS = 4  # the most common ones; the rarer have too few positives to resample
FLOOR_DRAWS = 20
LOW, HIGH = 0.025, 0.975


def figures(
    chosen: Mapping[str, np.ndarray],
    frozen: Mapping[str, np.ndarray],
    rows: FeatureRows,
    user_day: np.ndarray,
    *,
    main: str,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Figures by model and head (`models`), and of `main` minus each baseline by head (`differences`, of the `judged_heads`).

    `chosen` and `frozen`: model -> probabilities (n, len(HEADS)). A figure of the commoner heads is {value, low, high}, with a
    95 % interval; one that is not defined is None. `ece_floor` is the calibration error that a perfectly calibrated model
    with the same predictions shows on as many rows by chance. Differences are paired: both models on the same draws.
    """
    points = {name: _points(chosen[name], frozen[name], rows.labels, user_day, seed) for name in chosen}
    judged = judged_heads(rows.labels, INTERVAL_HEADS)
    samples = _samples(chosen, frozen, rows, user_day, draws, seed, judged)
    models = {
        name: {
            head: {key: _with_interval(value, samples.get((name, head, key))) for key, value in found.items()}
            for head, found in heads.items()
        }
        for name, heads in points.items()
    }
    differences = {
        name: {head: _differences(points, samples, main, name, head) for head in judged} for name in chosen if name != main
    }
    return {"models": models, "differences": differences, "judged_heads": list(judged)}


def _points(
    p: np.ndarray, frozen: np.ndarray, labels: np.ndarray, user_day: np.ndarray, seed: int
) -> dict[str, dict[str, Any]]:
    found = {}
    for index, head in enumerate(HEADS):
        y, own = labels[:, index].astype(np.float64), p[:, index].astype(np.float64)
        values, _ = ndcg_by_group(frozen[:, index], y, user_day)
        found[head] = {
            **head_metrics(own, y),
            "ece_floor": ece_floor(own, seed),
            NDCG: float(values.mean()) if len(values) else None,
        }
    return found


def ece_floor(p: np.ndarray, seed: int) -> float | None:
    """Mean calibration error of labels drawn from `p` itself."""
    random = np.random.default_rng(seed)
    errors = [expected_calibration_error(p, (random.random(len(p)) < p).astype(np.float64)) for _ in range(FLOOR_DRAWS)]
    return float(np.mean(errors)) if len(p) else None


def _samples(
    chosen: Mapping[str, np.ndarray],
    frozen: Mapping[str, np.ndarray],
    rows: FeatureRows,
    user_day: np.ndarray,
    draws: int,
    seed: int,
    judged: Sequence[str],
) -> dict[tuple[str, str, str], np.ndarray]:
    """(model, head, figure) -> its value in every resampling, float64 (draws,); NaN where it is not defined."""
    samples = {(name, head, key): np.full(draws, np.nan) for name in chosen for head in judged for key in (*RESAMPLED, NDCG)}
    ranked = {
        (name, head): ndcg_by_group(
            frozen[name][:, HEADS.index(head)], rows.labels[:, HEADS.index(head)].astype(float), user_day
        )
        for name in chosen
        for head in judged
    }
    for number, (sample, weight) in enumerate(_resampled_users(rows.user_id, draws, seed)):
        announce(f"intervals: {number + 1} of {draws}")
        for (name, head), (values, at) in ranked.items():
            index = HEADS.index(head)
            y = rows.labels[sample, index].astype(np.float64)
            metrics = head_metrics(chosen[name][sample, index].astype(np.float64), y)
            for key in RESAMPLED:
                samples[name, head, key][number] = np.nan if metrics[key] is None else metrics[key]
            times = weight[at]
            if times.sum():
                samples[name, head, NDCG][number] = (values * times).sum() / times.sum()
    return samples


def _resampled_users(user_id: np.ndarray, draws: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of users drawn with replacement, and how often each row was drawn, int64 (n,): a user's rows go together."""
    random = np.random.default_rng(seed)
    order = np.argsort(user_id, kind="stable")
    _, start, count = np.unique(user_id[order], return_index=True, return_counts=True)
    for _ in range(draws):
        drawn = random.integers(0, len(start), len(start))
        size = count[drawn]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        sample = order[np.repeat(start[drawn], size) + within]
        yield sample, np.bincount(sample, minlength=len(user_id))


def _with_interval(value: float | None, sample: np.ndarray | None) -> Any:
    if sample is None or value is None:
        return value
    return {"value": value, **_interval(sample)}


def _interval(sample: np.ndarray) -> dict[str, float | None]:
    defined = sample[~np.isnan(sample)]
    if len(defined) == 0:
        return {"low": None, "high": None}
    low, high = np.quantile(defined, (LOW, HIGH))
    return {"low": float(low), "high": float(high)}


def _differences(
    points: Mapping[str, Mapping[str, Mapping[str, Any]]],
    samples: Mapping[tuple[str, str, str], np.ndarray],
    main: str,
    other: str,
    head: str,
) -> dict[str, Any]:
    found = {}
    for key in (*RESAMPLED, NDCG):
        one, two = points[main][head][key], points[other][head][key]
        if one is None or two is None:
            found[key] = None
            continue
        found[key] = {"difference": one - two, **_interval(samples[main, head, key] - samples[other, head, key])}
    return found
