"""The exposures of a sample of users. A training learns from these when there is no time to learn from all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flows.demo.traffic.visits import in_sample

LEAST_ROWS = 4_000  # exposures; a model of fewer is too poor to be of use, so a short time limit does not go below


@dataclass(frozen=True)
class UserSample:
    """The exposures of the chosen users. `index` int64 (n,): their places among all exposures, ascending."""

    index: np.ndarray
    share: float  # of the users
    of: int  # exposures there are

    @property
    def whole(self) -> bool:
        return len(self.index) == self.of

    def words(self) -> str:
        return f"{len(self.index):,} of {self.of:,} exposures: {self.share:.0%} of the users, drawn by a hash of their id"


def sampled_users(user_id: np.ndarray, rows: int, seed: int, of: int | None = None) -> UserSample:
    """About `rows` exposures of `user_id` (int64 (n,), one an exposure), whole users each; all of them where they are so few.

    `of`: exposures of all users, where `user_id` is of a larger sample of them with the same seed already. Deterministic in ids
    and seed; a larger sample holds the users of a smaller one. Where users are few or of very unequal activity, the share is
    raised until LEAST_ROWS are there.
    """
    wanted = max(rows, LEAST_ROWS)
    of = len(user_id) if of is None else of
    share = min(1.0, wanted / max(of, 1))
    chosen = in_sample(user_id, share, seed)
    while share < 1 and np.count_nonzero(chosen) < min(LEAST_ROWS, len(user_id)):
        share = min(1.0, share * 1.5)
        chosen = in_sample(user_id, share, seed)
    return UserSample(np.flatnonzero(chosen), share, of)
