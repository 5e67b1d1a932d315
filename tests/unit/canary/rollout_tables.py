"""Evidence of a rollout with a known truth, for the judge's tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitoring.canary.rollout_evidence import PairedLosses, RequestTimes, RolloutEvidence, UserSums
from monitoring.canary.time_bins import bin_of

POSTS = 10


def rollout(
    rng: np.random.Generator,
    users: int = 4_000,
    *,
    shares: tuple[float, ...] = (0.5,),
    engagement: float = 1.0,
    failed: float = 0.002,
    slower: float = 1.0,
    log_loss: float = 0.0,
    disliked: float = 1.0,
    authors: float = 0.8,
    age: float = 1.0,
) -> RolloutEvidence:
    """Users come in every step; the canary's differ from the live release's as said."""
    place = rng.random(users)
    before = rng.gamma(1.5, 3.0, users)
    requests, pages, times = [], [], []
    for step, share in enumerate(shares):
        treated, visits = place < share, rng.poisson(5, users) + 1
        failures = rng.binomial(visits, np.where(treated, failed, 0.002))
        served = (visits - failures).astype(np.float64)
        nothing = np.zeros(users)
        key = (np.full(users, step), treated, np.arange(users))
        requests.append((*key, visits, failures, served, nothing, nothing, nothing))
        acts = rng.poisson(before * np.where(treated, engagement, 1.0))
        hides = rng.poisson(0.3 * served * np.where(treated, disliked, 1.0))
        apart = np.where(treated, authors, 0.8) * served
        hours = 5.0 * np.where(treated, age, 1.0) * served * rng.lognormal(0, 0.1, users)
        pages.append(
            (np.full(users, step), treated, np.arange(users), served, POSTS * served, acts, hides, apart, hours, before)
        )
        who = np.repeat(np.arange(users), served.astype(int))
        ms = rng.lognormal(4, 0.5, len(who)) * np.where(treated[who], slower, 1.0)
        times.append((np.full(len(who), step), treated[who], who, bin_of(ms), np.ones(len(who), np.int64)))
    return RolloutEvidence(
        shares,
        _sums(requests, ("requests", "failed", "pages", "empty", "not_numbers", "short")),
        RequestTimes(*(np.concatenate(column) for column in zip(*times, strict=True))),
        _sums(pages, ("pages", "posts", "engagement", "disliked", "author_share", "age_hours", "before")),
        paired(rng, users, log_loss),
    )


def paired(rng: np.random.Generator, users: int, log_loss: float = 0.0) -> PairedLosses:
    """A common head, a rarer one, and one that hardly anybody ever used."""
    live = {head: level * POSTS * rng.gamma(4, 0.25, users) for head, level in (("click", 0.5), ("like", 0.1), ("own_5", 1e-5))}
    canary = {head: loss * (1 + log_loss + rng.normal(0, 0.1, users)) for head, loss in live.items()}
    canary["own_5"] = canary["own_5"] * 1.2
    positives = {"click": rng.poisson(1.0, users), "like": rng.poisson(0.3, users), "own_5": (np.arange(users) < 3).astype(int)}
    return PairedLosses(np.arange(users), np.full(users, POSTS), positives, live, canary)


def with_sums(table: UserSums, **sums: np.ndarray | float) -> UserSums:
    """The table with other sums; a number stands for every row."""
    return replace(table, sums=table.sums | {name: np.broadcast_to(value, table.user.shape) for name, value in sums.items()})


def only(table: UserSums, keep: np.ndarray) -> UserSums:
    """The rows of the table that `keep` (n,) says."""
    return UserSums(table.step[keep], table.treated[keep], table.user[keep], {k: v[keep] for k, v in table.sums.items()})


def no_table() -> UserSums:
    """A table without rows."""
    nobody = np.empty(0, np.int64)
    return UserSums(nobody, nobody.astype(bool), nobody, {})


def no_times() -> RequestTimes:
    """No answer."""
    nobody = np.empty(0, np.int64)
    return RequestTimes(nobody, nobody.astype(bool), nobody, nobody, nobody)


def no_losses() -> PairedLosses:
    """No post that both releases predicted."""
    nobody = np.empty(0, np.int64)
    return PairedLosses(nobody, nobody, {}, {}, {})


def _sums(steps: list[tuple], names: tuple[str, ...]) -> UserSums:
    step, treated, user, *sums = (np.concatenate(column) for column in zip(*steps, strict=True))
    return UserSums(step, treated, user, {name: one.astype(np.float64) for name, one in zip(names, sums, strict=True)})
