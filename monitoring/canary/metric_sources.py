"""Where each metric is found in a rollout's evidence, and its estimate over the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from monitoring.canary.moments import CARRIED, ONE, StepMoments, X, Y, user_columns
from monitoring.canary.policy import MetricPolicy
from monitoring.canary.pooling import Carried, Pooled, carry, influences, pool
from monitoring.canary.quantiles import LATENCY_QUANTILE, latency_step
from monitoring.canary.rollout_evidence import PairedLosses, RequestTimes, RolloutEvidence, UserSums
from monitoring.canary.step_estimates import Kind, StepEstimate, ratio_step
from monitoring.canary.time_bins import BINS
from monitoring.canary.verdict import Unit


@dataclass(frozen=True)
class Source:
    """A metric is the sum of `numerator` over that of `denominator` in `table`; without a denominator, over users."""

    table: str  # "requests" or "pages"
    numerator: str
    denominator: str | None
    kind: Kind
    unit: Unit
    covariate: str | None = None


SOURCES = {
    "engagement": Source("pages", "engagement", None, "amount", "actions", "before"),
    "failed": Source("requests", "failed", "requests", "share", "share"),
    "empty": Source("requests", "empty", "pages", "share", "share"),
    "not_numbers": Source("requests", "not_numbers", "pages", "share", "share"),
    "short": Source("requests", "short", "pages", "share", "share"),
    "disliked": Source("pages", "disliked", "posts", "count", "share"),
    "author_share": Source("pages", "author_share", "pages", "amount", "share"),
    "age_hours": Source("pages", "age_hours", "pages", "amount", "hours"),
}


def estimate_ratio(metric: MetricPolicy, evidence: RolloutEvidence) -> Pooled:
    """A metric of SOURCES over all steps. Sums that are not finite are no data."""
    source = SOURCES[metric.name]
    table: UserSums = getattr(evidence, source.table)
    names = [name for name in (source.denominator, source.numerator) if name]
    if any(name not in table.sums or not np.isfinite(table.sums[name]).all() for name in names):
        return nothing(table)
    y = table.sums[source.numerator]
    x = np.ones(len(y)) if source.denominator is None else table.sums[source.denominator]
    before = table.sums.get(source.covariate) if source.covariate else None
    if before is not None and not np.isfinite(before).all():
        before = None  # the covariate only narrows the interval: without it the metric stands all the same

    def step(moments: StepMoments, place: int) -> StepEstimate:
        return ratio_step(moments, source.kind, relative=metric.scale != "absolute")

    pooled = _over_steps(table, x, y, before, len(evidence.shares), step)
    return _as_log_ratio(pooled) if metric.scale == "ratio" else pooled


UNKNOWN = 1e6  # variance of an estimate that says nothing


def estimate_latency(times: RequestTimes, steps: int) -> Pooled:
    """Log ratio of the p95 over all steps."""
    known = (times.bin >= 0) & (times.count > 0)
    step, treated, user, bins, count = (
        column[known] for column in (times.step, times.treated, times.user, times.bin, times.count)
    )
    cell = 2 * step + treated
    counts = np.bincount(cell * BINS + bins, weights=count, minlength=2 * steps * BINS).reshape(steps, 2, BINS)
    live = counts[:, 0].sum(axis=0)
    fixed = int(np.searchsorted(live.cumsum(), LATENCY_QUANTILE * live.sum())) if live.any() else 0
    person, people = _places(user)
    place = cell * people + person
    answers = np.bincount(place, weights=count, minlength=2 * steps * people)
    slow = np.bincount(place, weights=count * (bins > fixed), minlength=2 * steps * people)
    met = np.flatnonzero(answers)
    cells, who = np.divmod(met, max(people, 1))
    table, x, y = UserSums(cells // 2, cells % 2 == 1, who, {}), answers[met], slow[met]
    pooled = _over_steps(table, x, y, None, steps, lambda moments, place: latency_step(moments, counts[place]))
    if pooled.has_data or not counts.sum(axis=(0, 2)).all():
        return pooled
    # Both arms answered, and too seldom for a p95: that says nothing yet, but it is not missing.
    return replace(pooled, difference=np.zeros(()), variance=np.asarray(UNKNOWN))


def latency_answers(times: RequestTimes, steps: int) -> tuple[int, int]:
    """Answers with a known time of either arm, in the step whose smaller arm is largest."""
    known = times.bin >= 0
    cells = np.bincount(2 * times.step[known] + times.treated[known], weights=times.count[known], minlength=2 * steps)
    by_step = cells.reshape(steps, 2) if steps else np.zeros((1, 2))
    control, treatment = by_step[np.argmax(by_step.min(axis=1))]
    return int(control), int(treatment)


def estimate_loss(losses: PairedLosses, head: str) -> Pooled:
    """The canary's log loss relative to the live release's on the same posts; `control` and `treatment` are nats a post."""
    live, canary, rows = losses.live[head], losses.canary[head], losses.rows
    if not (np.isfinite(live).all() and np.isfinite(canary).all()) or live.sum() <= 0 or rows.sum() <= 0:
        return nothing_at(len(losses.user))
    columns = user_columns(live, canary)
    return loss_ratio(columns.T @ columns, float(rows.sum()))


def loss_ratio(products: np.ndarray, rows: np.ndarray | float) -> Pooled:
    """The same from moments of users (..., COLUMNS, COLUMNS) with x = live loss, y = canary loss; rows: posts (...,)."""
    users, live, canary = products[..., ONE, ONE], products[..., ONE, X], products[..., ONE, Y]
    has = (live > 0) & (users > 1)
    level = np.where(has, live, 1.0)
    ratio = canary / level
    spread = products[..., Y, Y] - 2 * ratio * products[..., X, Y] + ratio**2 * products[..., X, X]
    variance = np.maximum(spread, 0.0) / level**2 * users / np.maximum(users - 1, 1)
    variance = np.where(has, variance, np.nan)
    posts = np.where(has, rows, 1.0)
    return Pooled(
        np.where(has, live / posts, np.nan),
        np.where(has, canary / posts, np.nan),
        np.where(has, ratio - 1, np.nan),
        variance,
        np.where(has, variance, np.inf),
        users,
        users,
    )


def deciding_heads(losses: PairedLosses, least: int, most: int, allowed: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Heads with enough positives and negatives, commonest first and at most `most`; and those that stay silent."""
    rows = int(losses.rows.sum())
    counts = {head: int(positives.sum()) for head, positives in losses.positives.items()}
    able = [head for head, n in counts.items() if n >= least and rows - n >= least and (not allowed or head in allowed)]
    chosen = sorted(able, key=lambda head: (-counts[head], head))[:most]
    return chosen, sorted(set(counts) - set(chosen))


def nothing(table: UserSums) -> Pooled:
    """No data of a metric in a table, with the users that were met."""
    met = [len(np.unique(table.user[table.treated == arm])) for arm in (False, True)]
    return nothing_at(*met)


def nothing_at(control_users: int, treatment_users: int | None = None) -> Pooled:
    """No data of a metric among so many users."""
    nan = np.asarray(np.nan)
    treated = control_users if treatment_users is None else treatment_users
    return Pooled(nan, nan, nan, nan, np.asarray(np.inf), np.asarray(float(control_users)), np.asarray(float(treated)))


def _places(user: np.ndarray) -> tuple[np.ndarray, int]:
    """A place (n,) below a bound for each user code, and the bound. Codes that are nearly dense are their own places."""
    if not len(user):
        return user, 0
    if user.min() >= 0 and user.max() < 8 * len(user):
        return user, int(user.max()) + 1
    people, person = np.unique(user, return_inverse=True)
    return person, len(people)


def _over_steps(
    table: UserSums,
    x: np.ndarray,
    y: np.ndarray,
    before: np.ndarray | None,
    steps: int,
    estimate: Callable[[StepMoments, int], StepEstimate],
) -> Pooled:
    """Pool the steps of a table with denominators x, numerators y and covariates before, all (n,).

    estimate: from the moments of a step and its place to the step's estimate.
    """
    person, people = _places(table.user)
    influence, carried, pooled = np.zeros(people), Carried(), nothing_at(0)
    for place in range(steps):
        rows = np.flatnonzero(table.step == place)
        columns = user_columns(x[rows], y[rows], None if before is None else before[rows], influence[person[rows]])
        treated = table.treated[rows]
        moments = StepMoments.of(columns, treated)
        one = estimate(moments, place)
        pooled = pool(one, moments, carried)
        influence[person[rows]] = columns[:, CARRIED] + influences(one, columns, treated.astype(int))
        carried = carry(one, carried, float(influence @ influence))
    return pooled


def _as_log_ratio(pooled: Pooled) -> Pooled:
    """A relative difference as the logarithm of canary over live, by the delta method."""
    ratio = 1 + pooled.difference
    positive = np.isfinite(ratio) & (ratio > 0)
    safe = np.where(positive, ratio, 1.0)
    return Pooled(
        pooled.control,
        pooled.treatment,
        np.where(positive, np.log(safe), np.nan),
        np.where(positive, pooled.variance / safe**2, np.nan),
        np.where(positive, pooled.step_variance / safe**2, np.inf),
        pooled.control_users,
        pooled.treatment_users,
    )
