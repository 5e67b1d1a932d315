"""All that the judge reads about a rollout, summed by user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UserSums:
    """Sums by (step, arm, user): arrays (n,), one row for each user that was met in that step under that arm.

    The arm is the release that the split gave the user (intention to treat), whoever answered in the end.
    """

    step: np.ndarray  # int64, 0.. = place of the canary's step in the ledger
    treated: np.ndarray  # bool, True: the canary's users
    user: np.ndarray  # int64 codes; the same person has the same code in every row of this table
    sums: dict[str, np.ndarray]  # float64 (n,)


@dataclass(frozen=True)
class RequestTimes:
    """Answers by (step, arm, user, bin of their time): arrays (n,). Bins are those of time_bins.py."""

    step: np.ndarray  # int64
    treated: np.ndarray  # bool
    user: np.ndarray  # int64
    bin: np.ndarray  # int64; time_bins.NO_TIME is ignored
    count: np.ndarray  # int64


@dataclass(frozen=True)
class PairedLosses:
    """Posts that both releases predicted on the same page and whose outcome is known, summed by user: arrays (n,).

    Not by step: what a model predicts does not depend on the split.
    """

    user: np.ndarray  # int64
    rows: np.ndarray  # int64
    positives: dict[str, np.ndarray]  # head -> int64
    live: dict[str, np.ndarray]  # head -> float64, summed log loss of the live release in nats
    canary: dict[str, np.ndarray]  # head -> float64, the same of the canary


@dataclass(frozen=True)
class RolloutEvidence:
    """Everything since the canary's first step."""

    shares: tuple[float, ...]  # the canary's share of users in each step, 0..1
    requests: UserSums  # requests, failed, pages, empty, not_numbers, short
    times: RequestTimes  # of answered requests
    pages: UserSums  # pages, posts, engagement, disliked, author_share, age_hours, before
    losses: PairedLosses
