"""Undated facts of users and posts as packed float vectors."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.surfaces import media_code

ATTRIBUTE_CODES = 28  # columns of a user's attributes; a dataset with fewer leaves the last ones at -1
# Of a dataset with more attributes than columns, the first ones have columns of their own, and all others share the rest.
OWN_COLUMNS = 12
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio

USER_PROFILE = (
    "log_followers",
    "log_following",
    "account_known",
    *(f"attribute_{number}" for number in range(ATTRIBUTE_CODES)),
)
POST_PROFILE = ("log_duration_s", "media", "topics", "is_reply", "log_text_length")


def user_profiles(users: pl.DataFrame) -> np.ndarray:
    """float32 (n, len(USER_PROFILE)) for contract rows of `users`, in their order.

    Attributes are codes, -1 where unknown. A user with more of them than ATTRIBUTE_CODES has codes in the first OWN_COLUMNS;
    each of the other columns counts the attributes whose place and code hash to it, so none is left out.
    """
    out = np.full((users.height, len(USER_PROFILE)), -1.0, np.float32)
    out[:, 0] = np.log1p(users["followers"].fill_null(0).clip(lower_bound=0).to_numpy())
    out[:, 1] = np.log1p(users["following"].fill_null(0).clip(lower_bound=0).to_numpy())
    out[:, 2] = 1.0
    attributes = users["attributes"]
    for number in range(ATTRIBUTE_CODES):
        out[:, 3 + number] = attributes.list.get(number, null_on_oob=True).fill_null(-1).to_numpy()
    many = (attributes.list.len() > ATTRIBUTE_CODES).fill_null(False).to_numpy()
    if many.any():
        out[many, 3 + OWN_COLUMNS :] = _counted(attributes.filter(many))
    return out


def _counted(attributes: pl.Series) -> np.ndarray:
    """float32 (n, ATTRIBUTE_CODES - OWN_COLUMNS): how many of the attributes from OWN_COLUMNS on fall into each column."""
    columns = ATTRIBUTE_CODES - OWN_COLUMNS
    counts = np.zeros((attributes.len(), columns), np.float32)
    for place in range(OWN_COLUMNS, int(attributes.list.len().max())):
        codes = attributes.list.get(place, null_on_oob=True).fill_null(-1).to_numpy()
        known = np.flatnonzero(codes >= 0)
        mixed = (np.uint64(place) << np.uint64(32) | codes[known].astype(np.uint64)) * _MIX
        counts[known, ((mixed >> np.uint64(32)) * np.uint64(columns) >> np.uint64(32)).astype(np.int64)] += 1
    return counts


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
