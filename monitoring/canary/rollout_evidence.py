"""What is known of a canary's users and of the live release's: the judge's input, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UserSums:
    """Sums by (step, arm, user), one row each; arrays are (n,).

    The arm is the release that the split gave the user, whoever answered in the end. `step`: place of the canary's step, from
    0. `user`: codes; a person has one code in all rows of a table.
    """

    step: np.ndarray  # int64
    treated: np.ndarray  # bool
    user: np.ndarray  # int64
    sums: dict[str, np.ndarray]  # float64


@dataclass(frozen=True)
class RequestTimes:
    """Answers by (step, arm, user, bin of their time to answer; see time_bins.py); arrays are (n,)."""

    step: np.ndarray  # int64
    treated: np.ndarray  # bool
    user: np.ndarray  # int64
    bin: np.ndarray  # int64
    count: np.ndarray  # int64


@dataclass(frozen=True)
class PairedLosses:
    """Posts that both releases predicted and whose outcome is known, by user: what is predicted does not depend on the split.

    Arrays are (n,); by head, in nats.
    """

    user: np.ndarray  # int64
    rows: np.ndarray  # int64
    positives: dict[str, np.ndarray]  # int64
    live: dict[str, np.ndarray]  # float64
    canary: dict[str, np.ndarray]  # float64


@dataclass(frozen=True)
class RolloutEvidence:
    """Everything that the judge looks at. `shares`: the canary's share of users in each step, 0..1."""

    shares: tuple[float, ...]
    requests: UserSums
    times: RequestTimes
    pages: UserSums
    losses: PairedLosses
