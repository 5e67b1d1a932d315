"""Drawn rows whose histories follow from one another, as a user's rows do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feature_repo.feature_rows import HISTORY_LENGTH, FeatureRows, History
from tests.synthetic_rows import synthetic_rows

_SECOND_US = 1_000_000


def timelines(users: int, rows_of_user: int, known_before: int, seed: int = 0) -> FeatureRows:
    """Rows whose histories follow from one another: `known_before` undated exposures of each user, then the rows themselves."""
    drawn = synthetic_rows(users * rows_of_user, seed=seed)
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rows_of_user)
    at_us = drawn.occurred_at.min() + np.tile(np.arange(rows_of_user), users) * 3_600 * _SECOND_US
    history = History.empty(len(user))
    for one in range(users):
        own = np.flatnonzero(user == one)
        posts = np.concatenate([random.integers(0, 300, known_before), drawn.post_id[own]])
        when = np.concatenate([np.full(known_before, -1), at_us[own]])
        for place, row in enumerate(own):
            seen = slice(max(0, known_before + place - HISTORY_LENGTH), known_before + place)
            count = seen.stop - seen.start
            if count == 0:
                continue
            history.post_id[row, -count:] = posts[seen]
            history.author_id[row, -count:] = posts[seen] // 3
            history.topic[row, -count:] = posts[seen] % 11
            history.actions[row, -count:] = posts[seen] % 7
            history.product[row, -count:] = 1
            ages = (at_us[row] - when[seen]) / _SECOND_US
            history.age_s[row, -count:] = np.where(when[seen] < 0, np.nan, ages)
    shuffled = random.permutation(len(user))
    return replace(drawn, user_id=user, occurred_at=at_us, history=history).take(shuffled)
