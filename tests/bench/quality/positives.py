"""What users liked, in order: all that peers without features learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.feature_rows import FeatureRows, History
from feature_repo.heads import HEADS, mask_of

LIKED = ("click", "video_view", "like", "profile_click", "follow", "reply", "share")
_BITS = mask_of(LIKED)
_COLUMNS = [HEADS.index(head) for head in LIKED]


@dataclass(frozen=True)
class Liked:
    """k (user, post) pairs, every user's own in the order they came; int64 (k,)."""

    user_id: np.ndarray
    post_id: np.ndarray


def past_likes(history: History) -> np.ndarray:
    """int64 (n, HISTORY_LENGTH): the post where the user did anything good with it, -1 elsewhere."""
    return np.where((history.actions & _BITS) > 0, history.post_id, -1)


def liked(rows: FeatureRows) -> Liked:
    """Everything liked in `rows`, after what stands in the history of each user's first row."""
    order = np.lexsort((rows.occurred_at, rows.user_id))
    users, first = np.unique(rows.user_id[order], return_index=True)
    before = past_likes(rows.history.rows(order[first]))
    place, column = np.nonzero(before >= 0)
    now = order[rows.labels[order][:, _COLUMNS].any(axis=1)]
    user = np.concatenate([users[place], rows.user_id[now]])
    post = np.concatenate([before[place, column], rows.post_id[now]])
    together = np.argsort(user, kind="stable")  # histories stand first, so they stay before the rows
    return Liked(user[together], post[together])
