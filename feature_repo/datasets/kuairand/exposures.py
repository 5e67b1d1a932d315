"""Exposure logs and prior-history lists of KuaiRand as contract events.

Every exposure is an impression, clicked or not; what the user did with it are further events of the same moment and the
same request id. The logged recommender is unknown, so `release` is null, and so is `propensity`, except for randomised
exposures (see `random_propensity`).
"""

from __future__ import annotations

import polars as pl

from feature_repo.contracts import EVENTS, HISTORY_BEFORE, Action

# (action, rows that carry it, value column). `is_click` is a click in the two-column page and a valid play elsewhere.
_ACTIONS: tuple[tuple[Action, pl.Expr, str | None], ...] = (
    (Action.IMPRESSION, pl.lit(True), None),
    (Action.CLICK, pl.col("is_click") == 1, None),
    (Action.VIDEO_VIEW, pl.col("long_view") == 1, "play_time_ms"),
    (Action.LIKE, pl.col("is_like") == 1, None),
    (Action.PROFILE_CLICK, pl.col("is_profile_enter") == 1, None),
    (Action.FOLLOW, pl.col("is_follow") == 1, None),
    (Action.REPLY, pl.col("is_comment") == 1, None),
    (Action.SHARE, pl.col("is_forward") == 1, None),
    (Action.NOT_INTERESTED, pl.col("is_hate") == 1, None),
    (Action.DWELL, pl.col("play_time_ms") > 0, "play_time_ms"),
)

# (list of the history file, action that each of its videos stands for)
_HISTORY_LISTS = (
    ("last50_exposed", Action.IMPRESSION),
    ("last50_liked", Action.LIKE),
    ("last50_long_viewed", Action.VIDEO_VIEW),
)

EVENT_COLUMNS = tuple(EVENTS.names)


def random_propensity(pool: int) -> float:
    """Chance of each video of the pool in a randomised slot.

    KuaiRand put a video drawn uniformly from its pool of 7,583 into randomly chosen feed slots (Gao et al., CIKM 2022).
    Given that a slot was randomised, which `is_rand` says, every video had the same chance: 1 / pool size.
    """
    return 1.0 / pool


def exposure_events(log: pl.DataFrame, authors: pl.DataFrame, prefix: str, pool: int) -> pl.DataFrame:
    """Events of exposure rows (columns LOG) in file order; row i has request id `<prefix>-<i>`. `authors`: video_id, author_id.

    Exact duplicate rows stay apart, since the ordinal makes their ids differ. An unknown video gets a null author.
    """
    exposures = log.with_row_index("ordinal").join(authors, on="video_id", how="left", maintain_order="left")
    shared = exposures.with_columns(
        post_id=pl.col("video_id"),
        product="tab_" + pl.col("tab").cast(pl.String),
        position=pl.lit(None, pl.Int32),
        release=pl.lit(None, pl.String),
        propensity=pl.when(pl.col("is_rand") == 1).then(pl.lit(random_propensity(pool))),
        request_id=f"{prefix}-" + pl.col("ordinal").cast(pl.String),
        occurred_at=pl.from_epoch("time_ms", time_unit="ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
    )
    parts = [_events_of(shared.filter(rows), action, value) for action, rows, value in _ACTIONS]
    return pl.concat(parts)


def _events_of(exposures: pl.DataFrame, action: Action, value: str | None) -> pl.DataFrame:
    return exposures.with_columns(
        event_id=pl.col("request_id") + f"-{action.value}",
        action=pl.lit(action.value),
        value=pl.lit(None, pl.Float64) if value is None else pl.col(value).cast(pl.Float64),
    ).select(EVENT_COLUMNS)


def history_events(history: pl.DataFrame, authors: pl.DataFrame) -> pl.DataFrame:
    """Prior-history lists (oldest first) as undated events: `occurred_at` is an upper bound, `position` the place in the list.

    The file counts all exposures of a user but lists the last fifty. So the `value` of a prior impression is how many
    exposures it stands for (total / listed): summed over a user's prior impressions it gives back the total.
    """
    parts = [_list_events(history, column, action) for column, action in _HISTORY_LISTS]
    events = pl.concat(parts).join(authors, left_on="post_id", right_on="video_id", how="left", maintain_order="left")
    return events.select(EVENT_COLUMNS)


def _list_events(history: pl.DataFrame, column: str, action: Action) -> pl.DataFrame:
    stands_for = pl.col("n_exposures_0409_0424") / pl.col(column).list.len()
    rows = (
        history.filter(pl.col(column).list.len() > 0)
        .select(
            "user_id",
            post_id=pl.col(column),
            position=pl.int_ranges(0, pl.col(column).list.len(), dtype=pl.Int32),
            value=stands_for if action is Action.IMPRESSION else pl.lit(None, pl.Float64),
            occurred_at=pl.from_epoch("last_time_ms", time_unit="ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        )
        .explode("post_id", "position")
    )
    return rows.with_columns(
        event_id=pl.format(f"kr-h-{{}}-{action.value}-{{}}", "user_id", "position"),
        action=pl.lit(action.value),
        product=pl.lit(HISTORY_BEFORE),
        release=pl.lit(None, pl.String),
        propensity=pl.lit(None, pl.Float64),
        request_id=pl.lit(None, pl.String),
    )
