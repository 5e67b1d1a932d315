"""Videos of KuaiRand as contract posts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from feature_repo.datasets.adapter import MalformedFile

BEIJING = timedelta(hours=8)
MEDIA = {"NORMAL": "video", "AD": "ad"}  # `video_type` by the platform's names of media kinds; others are kept as they are


def posts_of(videos: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Posts: topics are the `tag` ids, media is `video_type`, created_at is midnight (Beijing) of the upload day.

    Only the day of the upload is published, so created_at is a lower bound. Raises MalformedFile for a repeated video,
    an upload day or a tag that cannot be read; `file` is where the videos came from.
    """
    _refuse(file, videos, "video_id", videos.get_column("video_id").is_duplicated(), "the video is listed more than once")
    day = videos.get_column("upload_dt").str.to_date("%Y-%m-%d", strict=False)
    _refuse(file, videos, "upload_dt", day.is_null(), "the upload day is not written as YYYY-MM-DD")
    tags = videos.get_column("tag").fill_null("").str.strip_chars()
    _refuse(file, videos, "tag", ~tags.str.contains(r"^(\d{1,9}(,\d{1,9})*)?$"), "tags are not a comma list of numbers")
    return videos.select(
        post_id="video_id",
        author_id="author_id",
        created_at=(day.cast(pl.Datetime("us")) - BEIJING).dt.replace_time_zone("UTC"),
        topics=tags.str.extract_all(r"\d+").cast(pl.List(pl.Int32)),
        media=pl.col("video_type").replace(MEDIA),
        duration_ms=pl.col("video_duration").round().cast(pl.Int64),
        language=pl.lit(None, pl.String),
        text=pl.lit(None, pl.String),
        in_reply_to=pl.lit(None, pl.Int64),
    )


def _refuse(file: Path, videos: pl.DataFrame, column: str, broken: pl.Series, problem: str) -> None:
    if broken.any():
        row = int(broken.arg_true()[0])
        raise MalformedFile(file, f"{videos[row, column]!r}: {problem}", column=column, row=row + 1)
