"""Undated facts of users and posts as packed float vectors."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.surfaces import media_code

ATTRIBUTE_CODES = 28  # categorical codes kept of a user; datasets with fewer are padded with -1, more are cut

USER_PROFILE = (
    "log_followers",
    "log_following",
    "account_known",
    *(f"attribute_{number}" for number in range(ATTRIBUTE_CODES)),
)
POST_PROFILE = ("log_duration_s", "media", "topics", "is_reply", "log_text_length")


def user_profiles(users: pl.DataFrame) -> np.ndarray:
    """float32 (n, len(USER_PROFILE)) for contract rows of `users`, in their order."""
    out = np.full((users.height, len(USER_PROFILE)), -1.0, np.float32)
    out[:, 0] = np.log1p(users["followers"].fill_null(0).clip(lower_bound=0).to_numpy())
    out[:, 1] = np.log1p(users["following"].fill_null(0).clip(lower_bound=0).to_numpy())
    out[:, 2] = 1.0
    for number in range(ATTRIBUTE_CODES):
        out[:, 3 + number] = users["attributes"].list.get(number, null_on_oob=True).fill_null(-1).to_numpy()
    return out


def unknown_user_profile() -> np.ndarray:
    """The profile of a user nobody has met, float32 (1, len(USER_PROFILE))."""
    out = np.full((1, len(USER_PROFILE)), -1.0, np.float32)
    out[:, :3] = 0.0
    return out


def post_profiles(posts: pl.DataFrame) -> np.ndarray:
    """float32 (n, len(POST_PROFILE)) for contract rows of `posts`, in their order."""
    kinds = posts["media"].unique().to_list()
    codes = posts["media"].replace_strict(kinds, [media_code(kind) for kind in kinds], return_dtype=pl.Float32)
    return np.stack(
        [
            np.log1p(posts["duration_ms"].fill_null(0).clip(lower_bound=0).to_numpy() / 1000.0),
            codes.to_numpy(),
            posts["topics"].list.len().to_numpy(),
            posts["in_reply_to"].is_not_null().to_numpy(),
            np.log1p(posts["text"].str.len_chars().fill_null(0).to_numpy()),
        ],
        axis=1,
    ).astype(np.float32)


def unknown_post_profile() -> np.ndarray:
    """The profile of a post that is in no table, float32 (1, len(POST_PROFILE))."""
    return np.zeros((1, len(POST_PROFILE)), np.float32)
