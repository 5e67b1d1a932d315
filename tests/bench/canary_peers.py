"""Other canary judges on the same streams: the rules of Kayenta, Argo Rollouts and Flagger, and a z-test at every look.

Re-implemented from their documentation and source, with the settings that those give as examples; whatever has to be set by
hand for a service is set from the simulated platform's usual values, which is kind to them. Each takes the same ramp at its own
pace. None pools steps, and none knows users: Kayenta compares minutes, Argo Rollouts and Flagger a minute with a number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from monitoring.canary.metric_sources import loss_ratio
from monitoring.canary.policy import JudgePolicy
from monitoring.canary.pooling import Carried, pool
from monitoring.canary.quantiles import log_quantile
from tests.bench.canary_looks import Looks
from tests.bench.canary_rollouts import End, OurJudge, Streams
from tests.bench.canary_streams import POSTS, USUAL_P95_MS

KAYENTA_CONFIDENCE = 0.98
KAYENTA_TOLERANCE = 0.25  # of the shift's own estimate
KAYENTA_PASS, KAYENTA_MARGINAL = 95.0, 75.0  # of the score, as in Spinnaker's example
KAYENTA_LIFETIME, KAYENTA_INTERVAL = 60, 15  # minutes
ARGO_MINUTES, ARGO_FAILURE_LIMIT = 15, 3  # its best practices: 15-20 minutes; its example's limit
FLAGGER_THRESHOLD = 10  # failed checks, one a minute, as in its example
LEAST_SUCCESS, MOST_P95_MS = 0.99, 1.25 * USUAL_P95_MS
NAIVE_P = 0.05
NAIVE_BLOCKS = (1, 2)  # an hour for each step, six for the last

HIGHER_IS_BETTER = {"engagement"}


def minutes(looks: Looks) -> dict[str, np.ndarray]:
    """Each metric of each minute and arm, (looks, 2), NaN where there was no traffic."""
    ones = np.ones((2, len(looks.visits.user)))
    requests, failed = looks.by_minute(ones), looks.by_minute(looks.visits.failed)
    paired = looks.by_minute(ones * looks.visits.paired)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "engagement": looks.by_minute(looks.visits.engagement) / (requests - failed),
            "failed": failed / requests,
            "p95": np.exp(log_quantile(looks.minutes_by_bin(), 0.95)),
            "loss": looks.by_minute(looks.visits.loss) / (POSTS * paired),
        }


def _along(streams: Streams, judge_step: Callable[[Looks, int, bool], tuple[str, int]], blocks: Callable[[bool], int]) -> End:
    """Take a ramp along. judge_step: a step's answer ("up", or how the rollout ends) and the minutes that it took."""
    hours, steps = 0.0, len(streams.people.shares)
    for step in range(steps):
        last = step == steps - 1
        looks = streams.looks(step, blocks(last))
        how, took = judge_step(looks, step, last)
        hours += took / 60
        if how != "up":
            break
    users = float(looks.copies[1][np.unique(looks.visits.user[looks.visits.look < took])].sum())
    return End("asked" if how == "up" else how, step, hours, users)


# ---- Kayenta --------------------------------------------------------------------------------------------------------
def kayenta(streams: Streams) -> End:
    """An hour of each step, judged every 15 minutes on its minutes so far; a score below marginal ends it at once."""

    def judge_step(looks: Looks, step: int, last: bool) -> tuple[str, int]:
        series = minutes(looks)
        for end in range(KAYENTA_INTERVAL, KAYENTA_LIFETIME + 1, KAYENTA_INTERVAL):
            score = kayenta_score({name: values[:end] for name, values in series.items()})
            if score < (KAYENTA_PASS if end == KAYENTA_LIFETIME else KAYENTA_MARGINAL):
                return "rolled back", end
        return "up", KAYENTA_LIFETIME

    return _along(streams, judge_step, lambda last: 1)


def kayenta_score(series: dict[str, np.ndarray]) -> float:
    """Passes among the metrics with data, in per cent; 100 where none has data, 0 where half have none."""
    labels = [kayenta_label(values, name not in HIGHER_IS_BETTER) for name, values in series.items()]
    judged = [label for label in labels if label != "nodata"]
    if 2 * (len(labels) - len(judged)) >= len(labels):
        return 0.0
    return 100.0 * judged.count("pass") / len(judged)


def kayenta_label(values: np.ndarray, rise_is_harm: bool) -> str:
    """Mann-Whitney at 98 %: the interval of the shift beyond a quarter of its own estimate, in the harmful direction."""
    live, canary = (np.sort(column[np.isfinite(column)]) for column in values.T)
    if not len(live) or not len(canary):
        return "nodata"
    n, m = len(live), len(canary)
    shifts = np.sort(np.subtract.outer(canary, live), axis=None)
    spread = ndtri((1 + KAYENTA_CONFIDENCE) / 2) * np.sqrt(n * m * (n + m + 1) / 12)
    rank = int(np.floor(n * m / 2 - spread))
    low, high = (shifts[rank], shifts[-1 - rank]) if rank >= 0 else (-np.inf, np.inf)
    tolerance = KAYENTA_TOLERANCE * abs(float(np.median(shifts)))
    return "fail" if (low > tolerance if rise_is_harm else high < -tolerance) else "pass"


# ---- Argo Rollouts and Flagger --------------------------------------------------------------------------------------
def argo(streams: Streams) -> End:
    """A measurement a minute against fixed thresholds, 15 minutes a step; more failures of one metric than its limit abort.

    A minute without traffic passes, as its documentation advises to write the conditions. Success and p95 only: a threshold
    of nine tenths of the usual engagement, a minute at a time, aborted every release that is alike.
    """

    def judge_step(looks: Looks, step: int, last: bool) -> tuple[str, int]:
        canary = {name: values[:ARGO_MINUTES, 1] for name, values in minutes(looks).items()}
        failures = np.stack(
            [
                canary["failed"] > 1 - LEAST_SUCCESS,
                canary["p95"] > MOST_P95_MS,
            ]
        )
        aborted = np.flatnonzero((failures.cumsum(axis=1) > ARGO_FAILURE_LIMIT).any(axis=0))
        return ("rolled back", int(aborted[0]) + 1) if len(aborted) else ("up", ARGO_MINUTES)

    return _along(streams, judge_step, lambda last: 1)


def flagger(streams: Streams) -> End:
    """A check a minute of success rate and p95; each that passes is a step up, and ten failures in all roll back.

    A minute without traffic has no values, and fails.
    """
    failures = 0

    def judge_step(looks: Looks, step: int, last: bool) -> tuple[str, int]:
        nonlocal failures
        series = minutes(looks)
        passes = (series["failed"][:, 1] <= 1 - LEAST_SUCCESS) & (series["p95"][:, 1] <= MOST_P95_MS)
        for minute, passed in enumerate(passes, 1):
            if passed:
                return "up", minute
            failures += 1
            if failures >= FLAGGER_THRESHOLD:
                return "rolled back", minute
        return "given up", len(passes)

    return _along(streams, judge_step, lambda last: 1)


# ---- the test of a first course -------------------------------------------------------------------------------------
def naive_z(streams: Streams) -> End:
    """A z-test of each metric at every look, harm at p < 0.05 rolls back; by user, with the variances that we use."""
    policy, bound = JudgePolicy.default(), -ndtri(NAIVE_P / 2)
    metrics = {metric.name: metric for metric in policy.metrics}

    def judge_step(looks: Looks, step: int, last: bool) -> tuple[str, int]:
        harmful = np.zeros(looks.looks, bool)
        for name in ("engagement", "failed", "latency_p95"):
            moments = looks.moments(name, None)
            one = OurJudge.estimate(name, moments, looks.times(), metrics[name].scale)
            pooled = pool(one, moments, Carried())
            with np.errstate(divide="ignore", invalid="ignore"):
                harmful |= metrics[name].sign * pooled.difference / np.sqrt(pooled.variance) > bound
        pooled = loss_ratio(*looks.losses(np.zeros((2, streams.people.users))))
        with np.errstate(divide="ignore", invalid="ignore"):
            harmful |= pooled.difference / np.sqrt(pooled.variance) > bound
        enough = looks.moments("failed", None).users.min(axis=-1) >= policy.min_users_to_roll_back
        found = np.flatnonzero(harmful & enough)
        return ("rolled back", int(found[0]) + 1) if len(found) else ("up", looks.looks)

    return _along(streams, judge_step, lambda last: NAIVE_BLOCKS[last])


PEERS = {"kayenta": kayenta, "argo_rollouts": argo, "flagger": flagger, "naive_z_test": naive_z}
