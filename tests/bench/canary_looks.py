"""From simulated visits to the moments that the judge reads, at every look of a step at once.

Moments are accumulated visit by visit: what a visit adds to a user's squares depends on the user's sums before it. A step's
looks are the cumulated sums of what was added in each minute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring.canary.moments import BEFORE, CARRIED, COLUMNS, ONE, StepMoments, X, Y, user_columns
from monitoring.canary.time_bins import BINS
from tests.bench.canary_streams import LOOK_S, POSTS, SLOW_BIN, People, Visits

# Metric -> its denominator and numerator of a visit under arm a. `engagement` is by user: its denominator is 1 once.
RATIOS = ("engagement", "failed", "empty", "not_numbers", "short", "disliked", "latency_p95")


def added(visits: Visits, metric: str, arm: int) -> tuple[np.ndarray, np.ndarray]:
    """What each visit (n,) adds to the user's denominator and numerator of `metric` under an arm."""
    page = (~visits.failed[arm]).astype(np.float64)
    if metric == "engagement":
        return visits.first.astype(np.float64), visits.engagement[arm]
    if metric == "failed":
        return np.ones(len(page)), visits.failed[arm].astype(np.float64)
    if metric == "short":
        return page, visits.short[arm].astype(np.float64)
    if metric == "disliked":
        return POSTS * page, visits.disliked[arm].astype(np.float64)
    if metric == "latency_p95":
        return page, page * (visits.bin[arm] > SLOW_BIN)
    return page, np.zeros(len(page))  # empty pages and not-a-number scores: none on either side


def cumulated(values: np.ndarray, look: np.ndarray, looks: int) -> np.ndarray:
    """Sums (looks,) of values (n,) over the visits up to each look."""
    return np.bincount(look, weights=values, minlength=looks)[:looks].cumsum()


def sums_before(visits: Visits, values: np.ndarray) -> np.ndarray:
    """Sum (n,) of values (n,) over the same user's earlier visits in the step."""
    total = values.cumsum() - values
    starts = np.flatnonzero(visits.first)
    return total - np.repeat(total[starts], np.diff(starts, append=len(values)))


def look_products(
    visits: Visits,
    pairs: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray,
    looks: int,
    *,
    before: np.ndarray | None = None,
    carried: np.ndarray | None = None,
    earlier: tuple[np.ndarray, np.ndarray] | None = None,
    new: np.ndarray | None = None,
) -> np.ndarray:
    """Sums of products of users' columns at each look, (looks, COLUMNS, COLUMNS).

    pairs: what visits add to x and y. weight: copies of each visit's user. before: the covariate by visit. carried: the
    influence by visit, times the copies. earlier: sums of x and y by visit that the user brings from before the step. new: the
    visits that bring a user whom nobody counted yet; by default the step's first of each.
    """
    dx, dy = pairs
    x, y = sums_before(visits, dx), sums_before(visits, dy)
    if earlier is not None:
        x, y = x + earlier[0], y + earlier[1]
    first = visits.first if new is None else new
    out = np.zeros((looks, COLUMNS, COLUMNS))

    def put(row: int, column: int, values: np.ndarray) -> None:
        out[:, row, column] = out[:, column, row] = cumulated(values, visits.look, looks)

    once, wx, wy = weight * first, weight * dx, weight * dy
    put(ONE, ONE, once)
    put(ONE, X, wx)
    put(X, X, wx * (2 * x + dx))
    if dy.any():
        put(ONE, Y, wy)
        put(X, Y, wy * (x + dx) + wx * y)
        put(Y, Y, wy * (2 * y + dy))
    if before is not None:
        put(ONE, BEFORE, once * before)
        put(BEFORE, BEFORE, once * before**2)
        put(X, BEFORE, wx * before)
        put(Y, BEFORE, wy * before)
    if carried is not None:
        put(ONE, CARRIED, carried * first)
        put(X, CARRIED, carried * dx)
        put(Y, CARRIED, carried * dy)
        put(BEFORE, CARRIED, carried * first * before if before is not None else np.zeros(len(dx)))
    return out


@dataclass(frozen=True)
class Looks:
    """A step of a rollout as everybody sees it at each of its looks."""

    people: People
    step: int
    visits: Visits
    looks: int
    copies: np.ndarray  # (2, users)

    def moments(self, metric: str, carried: np.ndarray | None) -> StepMoments:
        """Of a metric of RATIOS at each look. carried: influence of every copy, (users, bands), from the steps before."""
        user, arms = self.visits.user, []
        before = self.people.before[user] if metric == "engagement" else None
        for arm in range(2):
            bands = slice(self.step + 1, None) if arm == 0 else slice(self.step + 1)
            influence = None
            if carried is not None:
                influence = (self.people.bands[:, bands] * carried[:, bands]).sum(axis=1)[user]
            weight = self.copies[arm][user].astype(np.float64)
            pairs = added(self.visits, metric, arm)
            arms.append(look_products(self.visits, pairs, weight, self.looks, before=before, carried=influence))
        return StepMoments(np.stack(arms, axis=1))

    def times(self) -> np.ndarray:
        """Answers by bin at each look, (looks, 2, BINS)."""
        return self.minutes_by_bin().cumsum(axis=0)

    def minutes_by_bin(self) -> np.ndarray:
        """Answers by bin in each minute, (looks, 2, BINS)."""
        out = np.empty((self.looks, 2, BINS))
        for arm in range(2):
            weight = self.copies[arm][self.visits.user] * ~self.visits.failed[arm]
            place = self.visits.look * BINS + self.visits.bin[arm]
            out[:, arm] = np.bincount(place, weights=weight, minlength=self.looks * BINS)[: self.looks * BINS].reshape(-1, BINS)
        return out

    def by_minute(self, values: np.ndarray) -> np.ndarray:
        """Sums (looks, 2) in each minute of what visits give under each arm, (2, n)."""
        weighted = values * self.copies[:, self.visits.user]
        return np.stack(
            [np.bincount(self.visits.look, weights=w, minlength=self.looks)[: self.looks] for w in weighted], axis=1
        )

    def losses(self, earlier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paired losses of this step alone as products (looks, COLUMNS, COLUMNS), and posts (looks,).

        earlier: sums of both releases' losses that users bring from the steps before, (2, users).
        """
        user = self.visits.user
        # One person of all that are alike: nothing is compared across arms here, and copies of a loss are no further evidence.
        weight = (self.people.bands.sum(axis=1) > 0)[user].astype(np.float64)
        pairs = (self.visits.loss[0], self.visits.loss[1])
        new = self.visits.paired & (sums_before(self.visits, self.visits.paired.astype(float)) == 0) & (earlier[0, user] == 0)
        known = weight * self.visits.paired
        products = look_products(self.visits, pairs, known, self.looks, earlier=tuple(earlier[:, user]), new=new)
        return products, cumulated(known * POSTS, self.visits.look, self.looks)

    def columns(self, metric: str, arm: int, look: int) -> np.ndarray:
        """Every person's columns (users, COLUMNS) under an arm at a look, as if they belonged to it; 0 if they did not come."""
        seen, n = self.visits.look <= look, self.people.users
        x, y = (
            np.bincount(self.visits.user[seen], weights=values[seen], minlength=n) for values in added(self.visits, metric, arm)
        )
        came = np.bincount(self.visits.user[seen], minlength=n) > 0
        return user_columns(x, y, self.people.before if metric == "engagement" else None) * came[:, None]

    def paired_sums(self, look: int) -> np.ndarray:
        """Both releases' paired losses by person up to a look, (2, users)."""
        seen, n = self.visits.look <= look, self.people.users
        return np.stack([np.bincount(self.visits.user[seen], weights=loss[seen], minlength=n) for loss in self.visits.loss])

    @property
    def step_s(self) -> np.ndarray:
        """Seconds since the step began at each look, (looks,)."""
        return LOOK_S * np.arange(1, self.looks + 1, dtype=np.float64)
