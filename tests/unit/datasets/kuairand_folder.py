"""Writes tiny folders in the two layouts of KuaiRand-Pure."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from feature_repo.datasets.kuairand.raw_columns import ONEHOT

START_MS = 1_650_900_000_000  # 2022-04-25 15:20 UTC

# The published logs also hold these columns, which the adapter does not read.
_UNREAD = {"date": 20220425, "hourmin": 1500, "profile_stay_time": 0, "comment_stay_time": 0, "duration_ms": 10_000}


def exposure(user_id: int = 1, video_id: int = 10, **changes: int) -> dict[str, int]:
    """One row of an exposure log on which nothing happened, but for `changes`."""
    quiet = {
        "time_ms": START_MS,
        "is_click": 0,
        "is_like": 0,
        "is_follow": 0,
        "is_comment": 0,
        "is_forward": 0,
        "is_hate": 0,
        "long_view": 0,
        "play_time_ms": 0,
        "is_profile_enter": 0,
        "is_rand": 0,
        "tab": 1,
    }
    return {"user_id": user_id, "video_id": video_id, **_UNREAD, **quiet, **changes}


def video(video_id: int = 10, author_id: int = 900, **changes: object) -> dict[str, object]:
    plain = {"video_type": "NORMAL", "upload_dt": "2022-04-10", "video_duration": 10_000.0, "tag": "3,7"}
    return {"video_id": video_id, "author_id": author_id, **plain, **changes}


def user(user_id: int = 1, **changes: object) -> dict[str, object]:
    plain = {
        "user_active_degree": "full_active",
        "is_lowactive_period": 0,
        "is_live_streamer": 1,
        "is_video_author": 0,
        "follow_user_num": 5,
        "follow_user_num_range": "(0,10]",
        "fans_user_num": 3,
        "fans_user_num_range": "[1,10)",
        "friend_user_num_range": "0",
        "register_days_range": "730+",
    }
    return {"user_id": user_id, **plain, **{name: 2.0 for name in ONEHOT}, **changes}


def history(user_id: int = 1, **changes: object) -> dict[str, object]:
    plain = {
        "n_exposures_0409_0424": 6,
        "last_time_ms": START_MS - 86_400_000,
        "last50_exposed": [10, 11, 10],
        "last50_liked": [11],
        "last50_long_viewed": [],
    }
    return {"user_id": user_id, **plain, **changes}


DEFAULT_VIDEOS = (video(10, 900), video(11, 901))
DEFAULT_USERS = (user(1), user(2))

_HISTORY_TYPES = {name: pl.List(pl.Int16) for name in ("last50_exposed", "last50_liked", "last50_long_viewed")}


def write_slice(
    folder: Path,
    exposures: list[dict] | None = None,
    *,
    videos: tuple[dict, ...] = DEFAULT_VIDEOS,
    users: tuple[dict, ...] = DEFAULT_USERS,
    histories: list[dict] | None = None,
) -> Path:
    """The Parquet slice; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(exposures or [exposure()]).write_parquet(folder / "exposures.parquet")
    pl.DataFrame(videos, infer_schema_length=None).write_parquet(folder / "videos.parquet")
    pl.DataFrame(users, infer_schema_length=None).write_parquet(folder / "users.parquet")
    if histories is not None:
        pl.DataFrame(histories, schema_overrides=_HISTORY_TYPES).write_parquet(folder / "history_before_0425.parquet")
    return folder


def write_official(
    folder: Path,
    exposures: list[dict] | None = None,
    *,
    randomised: list[dict] | None = None,
    videos: tuple[dict, ...] = DEFAULT_VIDEOS,
    users: tuple[dict, ...] = DEFAULT_USERS,
) -> Path:
    """The official CSV files; the exposures are parted over the two standard logs. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = exposures or [exposure(), exposure(2, 11)]
    half = max(1, len(rows) // 2)
    pl.DataFrame(rows[:half]).write_csv(folder / "log_standard_4_08_to_4_21_pure.csv")
    pl.DataFrame(rows[half:] or rows[:0], schema=list(rows[0])).write_csv(folder / "log_standard_4_22_to_5_08_pure.csv")
    if randomised is not None:
        pl.DataFrame(randomised).write_csv(folder / "log_random_4_22_to_5_08_pure.csv")
    pl.DataFrame(videos, infer_schema_length=None).write_csv(folder / "video_features_basic_pure.csv")
    pl.DataFrame(users, infer_schema_length=None).write_csv(folder / "user_features_pure.csv")
    return folder
