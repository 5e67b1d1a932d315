"""The users whose rows a flow builds when there is no time to build all: drawn by a hash of their id, alike in every flow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.lake import Lake
from feature_repo.row_draw import RowDraw
from flows.demo.traffic.visits import in_sample
from flows.training.sampled_users import sampled_users

# Added to the settings' seed, so that these users are drawn apart from those who are replayed and those who judge a challenger.
DRAW_SEED = 2
JUDGE_SEED = 1


def exposed_users(lakes: Sequence[Lake], days: Sequence[date]) -> np.ndarray:
    """The user of every dated exposure of `days` in `lakes`, int64 (n,), in no order."""
    found = [
        users_shown(lake.scan_events([day for day in days if day in held]))
        for lake in lakes
        if (held := set(lake.event_days())) & set(days)
    ]
    return np.concatenate([np.empty(0, np.int64), *found])


def users_shown(events: pl.LazyFrame) -> np.ndarray:
    """The user of every dated exposure of `events`, int64 (n,), in no order."""
    wanted = (pl.col("action") == "impression") & (pl.col("product") != HISTORY_BEFORE)
    return events.filter(wanted).select("user_id").collect()["user_id"].to_numpy()


def share_for(users: np.ndarray, rows: int, seed: int) -> float:
    """The share of the users, by exposure in `users` (int64 (n,)), whose exposures are about `rows`."""
    return sampled_users(users, rows, seed + DRAW_SEED).share


def draw_of(share: float, seed: int) -> RowDraw | None:
    """The rows of a `share` of the users; None where that is all of them."""
    if share >= 1:
        return None

    def drawn(user_id: np.ndarray) -> np.ndarray:
        return in_sample(user_id, share, seed + DRAW_SEED)

    return RowDraw(f"{share:.6f} of users, seed {seed}", lambda user_id, at_us: drawn(user_id), drawn)


def judging(user_id: np.ndarray, share: float, seed: int) -> np.ndarray:
    """bool (n,): of `user_id` (int64 (n,)) the users who judge a challenger, where a `share` of all do."""
    return in_sample(user_id, share, seed + JUDGE_SEED)


def with_judges(draw: RowDraw | None, share: float, since_us: int, seed: int) -> RowDraw | None:
    """`draw`, and from `since_us` on the rows of those who judge a challenger, where a `share` of the users does."""
    if draw is None:
        return None
    return RowDraw(
        f"{draw.name}, and {share:.6f} since {since_us}",
        lambda user_id, at_us: draw.keep(user_id, at_us) | ((at_us >= since_us) & judging(user_id, share, seed)),
        lambda user_id: draw.users(user_id) | judging(user_id, share, seed),
    )
