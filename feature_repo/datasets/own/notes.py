"""What a person should know of a dataset before it is learned from: what was derived, what is missing, what looks wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from feature_repo.datasets.own.columns import ALSO
from feature_repo.datasets.own.seen import Seen

if TYPE_CHECKING:
    from feature_repo.datasets.own.adapter import OwnData

FEW_LOST = 0.01  # share of the rows that may be left out, or count once with others, before it is doubtful
MANY_LOST = 0.1  # above this share of rows left out, ids that are not seen are not doubted: those rows may hold them
STAND_INS = (
    *("null", "NULL", "None", "none", "nan", "NaN", "N/A", "undefined", "unknown"),
    *("anonymous", "(not set)", "guest", "-"),
)
FEW_POSTS, MANY_ROWS = 10, 1_000  # so few posts in so many rows: the column may hold something else
MOST_UNSEEN = 0.5  # share of a table's ids that no event names, beyond which the ids look written in another way


def derived_and_missing(data: OwnData) -> list[str]:
    """What was derived or sampled, and what can therefore not be judged; whole sentences."""
    told = []
    if data.derived_impressions:
        told.append(
            "The files have no impressions: one was derived for each user, post and session. Calibration, rates per "
            "impression and off-policy estimates can't be judged."
        )
        if data.sampled_negatives:
            told.append(
                f"{data.sampled_negatives} posts were sampled beside each derived impression by popularity: offline "
                "quality compares with these, not with what users really saw."
            )
    elif data.mapping.events.impressions == "rows":
        told.append("Every row counts as an impression: what users saw and left alone is known only where a row says so.")
    if "propensity" not in data.columns:
        told.append("No propensity is given: off-policy estimates of the logged days can't be judged.")
    if not _names_an_author(data):
        told.append("No author is given: each post has an unknown author of its own, and features of authors say nothing.")
    return told


def _names_an_author(data: OwnData) -> bool:
    """Whether a row of the events or of the posts does."""
    posts = data.side_rows().get("posts")
    if posts is not None and posts.frame["author_id"].count():
        return True
    return "author_id" in data.columns and data.survey.rows_without_author < data.survey.rows


def looks_wrong(data: OwnData, seen: Seen | None) -> list[str]:
    """What can be read but is hardly meant; whole sentences. seen: what all events show, None where not all were read."""
    doubts = []
    surfaces = ALSO["surface"]
    if "surface" not in data.mapping.events.columns and set(surfaces) <= set(data.reader.columns):
        doubts.append(
            f"Columns {' and '.join(map(repr, surfaces))} both name the surface: {data.columns['surface']!r} is used. Map the "
            "right one under `events: columns: surface:`."
        )
    if seen is not None:
        doubts += _lost_rows(data)
        doubts += _few_posts(data, seen)
        doubts += _nobody(data, seen)
        tables = data.side_rows() if data.counts.dead <= MANY_LOST * data.counts.rows else {}
        if (posts := tables.get("posts")) is not None:
            doubts += [
                *_created_late(posts.frame, seen),
                *_unseen(data, "post", posts.frame["post_id"], seen.posts()["post_id"]),
            ]
        if (users := tables.get("users")) is not None:
            doubts += _unseen(data, "user", users.frame["user_id"], seen.users()["user_id"])
    return doubts


def _lost_rows(data: OwnData) -> list[str]:
    """Rows that are no events, or that count once with others, where they are many."""
    counts, doubts = data.counts, []
    if counts.dead > FEW_LOST * counts.rows:
        reason, rows = counts.reasons.most_common(1)[0]
        doubts.append(
            f"{counts.dead:,} of {counts.rows:,} rows ({counts.dead / counts.rows:.1%}) are left out, most often ({rows:,} "
            f"rows) because {reason}."
        )
    if counts.repeats > FEW_LOST * counts.rows:
        doubts.append(
            f"{counts.repeats:,} of {counts.rows:,} rows ({counts.repeats / counts.rows:.1%}) have the event_id of another row "
            f"and count once with it. Check that column {data.columns['event_id']!r} names one event each, and not a session "
            "or a request; without a column of event ids every row is an event."
        )
    return doubts


def _few_posts(data: OwnData, seen: Seen) -> list[str]:
    counts = data.counts
    posts, rows = seen.posts().height, counts.rows - counts.dead - counts.skipped - counts.silent
    if posts > FEW_POSTS or rows < MANY_ROWS:
        return []
    return [f"{rows:,} rows name only {posts:,} posts. Check that column {data.columns['post_id']!r} holds their ids."]


def _nobody(data: OwnData, seen: Seen) -> list[str]:
    """Texts that stand for no user in particular."""
    texts = pl.Series("user", STAND_INS)
    met = data.ids.known("user", texts).is_in(seen.users()["user_id"].implode()).fill_null(False)
    if not met.any():
        return []
    named = ", ".join(repr(text) for text in texts.filter(met))
    return [
        f"Among the users is {named}, which looks like nobody in particular: all such rows count as one person's. Leave the "
        "cell empty, so that they are left out, or give each visitor an id."
    ]


def _created_late(posts: pl.DataFrame, seen: Seen) -> list[str]:
    late = posts.join(seen.posts().select("post_id", "first"), "post_id").filter(pl.col("created_at") > pl.col("first")).height
    if not late:
        return []
    return [
        f"{late:,} of {posts.height:,} posts have a created_at after their first event: they count as created when they were "
        "first seen. Check the time zones of both files."
    ]


def _unseen(data: OwnData, kind: str, given: pl.Series, seen: pl.Series) -> list[str]:
    """given: ids of the kind's own table; seen: those of the events."""
    alone, others = (one.filter(~one.is_in(two.implode())) for one, two in ((given, seen), (seen, given)))
    if alone.len() <= MOST_UNSEEN * given.len():
        return []

    def as_in(ids: pl.Series) -> str:
        return ", as " + " and ".join(repr(text) for text in data.ids.texts(kind, ids.head(2))) if ids.len() else ""

    share = f"{alone.len() / given.len():.0%}"
    return [
        f"{alone.len():,} of {given.len():,} {kind}s of the {kind}s' files ({share}) never occur in the "
        f"events{as_in(alone)}; {others.len():,} of {seen.len():,} {kind}s of the events are not in the {kind}s' files"
        f"{as_in(others)}. Check that both write the ids alike."
    ]
