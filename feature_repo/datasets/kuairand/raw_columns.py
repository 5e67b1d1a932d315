"""The columns of KuaiRand's files that the adapter reads, with the values that each may hold.

Source: the field tables of the dataset's own README (github.com/chongminggao/KuaiRand).
"""

from __future__ import annotations

import polars as pl

from feature_repo.datasets.checked_files import RawColumn


def _flag(name: str) -> RawColumn:
    return RawColumn(name, pl.Int8, 0, 1)


# The logs are from April and May 2022; a wider year catches seconds given for milliseconds, not a stray clock.
FIRST_TIME_MS = 1_640_995_200_000  # 2022-01-01 UTC
LAST_TIME_MS = 1_672_531_199_999  # 2022-12-31 UTC

_ID = (0, 2**31 - 1)

LOG = (
    RawColumn("user_id", pl.Int64, *_ID),
    RawColumn("video_id", pl.Int64, *_ID),
    RawColumn("time_ms", pl.Int64, FIRST_TIME_MS, LAST_TIME_MS),
    _flag("is_click"),
    _flag("is_like"),
    _flag("is_follow"),
    _flag("is_comment"),
    _flag("is_forward"),
    _flag("is_hate"),
    _flag("long_view"),
    RawColumn("play_time_ms", pl.Int64, 0),
    _flag("is_profile_enter"),
    _flag("is_rand"),
    RawColumn("tab", pl.Int8, 0, 14),
)

HISTORY = (
    RawColumn("user_id", pl.Int64, *_ID),
    RawColumn("n_exposures_0409_0424", pl.Int64, 1),
    RawColumn("last_time_ms", pl.Int64, FIRST_TIME_MS, LAST_TIME_MS),
    RawColumn("last50_exposed", pl.List(pl.Int64)),
    RawColumn("last50_liked", pl.List(pl.Int64)),
    RawColumn("last50_long_viewed", pl.List(pl.Int64)),
)

VIDEOS = (
    RawColumn("video_id", pl.Int64, *_ID),
    RawColumn("author_id", pl.Int64, *_ID),
    RawColumn("video_type", pl.String),
    RawColumn("upload_dt", pl.String),
    RawColumn("video_duration", pl.Float64, 0, required=False),
    RawColumn("tag", pl.String, required=False),
)

# The published one-hot codes; some are written as 1.0 and some are empty.
ONEHOT = tuple(f"onehot_feat{index}" for index in range(18))

USERS = (
    RawColumn("user_id", pl.Int64, *_ID),
    RawColumn("user_active_degree", pl.String),
    RawColumn("is_lowactive_period", pl.Int64),
    RawColumn("is_live_streamer", pl.Int64),
    RawColumn("is_video_author", pl.Int64),
    RawColumn("follow_user_num", pl.Int64, 0),
    RawColumn("follow_user_num_range", pl.String),
    RawColumn("fans_user_num", pl.Int64, 0),
    RawColumn("fans_user_num_range", pl.String),
    RawColumn("friend_user_num_range", pl.String),
    RawColumn("register_days_range", pl.String),
    *(RawColumn(name, pl.Float64, required=False) for name in ONEHOT),
)
