"""User features of KuaiRand as contract users."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.kuairand.raw_columns import ONEHOT

UNKNOWN = -1

# The published value sets, smallest first; a code is the place in its tuple, and any other value is unknown.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "user_active_degree": (
        "day_new",
        "2_14_day_new",
        "30day_retention",
        "single_low_active",
        "low_active",
        "middle_active",
        "high_active",
        "full_active",
    ),
    "follow_user_num_range": ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "(150,250]", "(250,500]", "500+"),
    "fans_user_num_range": (
        "0",
        "[1,10)",
        "[10,100)",
        "[100,1k)",
        "[1k,5k)",
        "[5k,1w)",
        "[1w,10w)",
        "[10w,100w)",
        "[100w,1000w)",
    ),
    "friend_user_num_range": ("0", "[1,5)", "[5,30)", "[30,60)", "[60,120)", "[120,250)", "250+"),
    "register_days_range": ("8-14", "15-30", "31-60", "61-90", "91-180", "181-365", "366-730", "730+"),
}

# Codes that the file already holds as numbers; a negative one (-124 in `is_live_streamer`) stands for unknown.
_NUMBERED = ("is_lowactive_period", "is_live_streamer", "is_video_author")

# Order of `users.attributes`.
ATTRIBUTES: tuple[str, ...] = (*CATEGORIES, *_NUMBERED, *ONEHOT)


def users_of(features: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Users with followers, following and the codes of ATTRIBUTES, -1 where unknown.

    created_at is null: the file gives the age of the account but not the day it was counted on.
    Raises MalformedFile for a repeated user; `file` is where the features came from.
    """
    repeated = features.get_column("user_id").is_duplicated()
    if repeated.any():
        row = int(repeated.arg_true()[0])
        raise MalformedFile(file, f"user {features[row, 'user_id']} is listed more than once", column="user_id", row=row + 1)
    codes = [
        *(
            pl.col(name).replace_strict(
                {value: code for code, value in enumerate(values)}, default=UNKNOWN, return_dtype=pl.Int32
            )
            for name, values in CATEGORIES.items()
        ),
        *(_number_code(name) for name in (*_NUMBERED, *ONEHOT)),
    ]
    return features.select(
        "user_id",
        created_at=pl.lit(None, pl.Datetime("us", "UTC")),
        language=pl.lit(None, pl.String),
        followers="fans_user_num",
        following="follow_user_num",
        attributes=pl.concat_list(codes),
    )


def _number_code(name: str) -> pl.Expr:
    code = pl.col(name).fill_nan(None) if name in ONEHOT else pl.col(name)
    return pl.when(code >= 0).then(code).otherwise(UNKNOWN).cast(pl.Int32)
