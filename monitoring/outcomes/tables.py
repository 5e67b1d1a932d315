"""Tables of the outcomes, in a database of their own: offsets move in the transaction that stores what was read.

Sums are kept by step of a canary, by the release that the split gave the user (`assigned`), and by user.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, String, Table

from feature_repo.ids.id_texts import MOST_ID_CHARACTERS
from infra.database import metadata

OFFSETS = Table(
    "outcome_offsets",
    metadata,
    Column("topic", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("following", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
)

MARKS = Table(
    "outcome_marks",
    metadata,
    Column(
        "name", String(96), primary_key=True
    ),  # "newest_event_us", "taken_us", "began_us:<trial>"; and a count, "changed:<trial>"
    Column("value", BigInteger, nullable=False),
)

# Pages whose posts may still be answered.
PAGES = Table(
    "outcome_pages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("request_id", String(160), nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),  # whether the page itself came; False: so far a copy alone
    Column("assigned", String(64)),
    Column("canary", String(64)),
    Column("step", Integer),
    Column("release", String(64)),
    Column("at_us", BigInteger, nullable=False),  # the moment of use, by the clock of the events
    Column("logged_us", BigInteger, nullable=False),  # by the clock of the wall
    Column("mature", Boolean, nullable=False),  # labels are taken for complete
    Column("author_share", Float),
    Column("age_hours", Float),
    Column("content", LargeBinary, nullable=False),  # see PageContent
    Index("ix_outcome_pages_user", "user_id", "request_id"),
    Index("ix_outcome_pages_mature", "mature", "at_us"),
    Index("ix_outcome_pages_logged_us", "logged_us"),
)

_KEY = ("canary", "step", "assigned")


def _split_columns() -> list[Column]:
    return [
        Column("canary", String(64), primary_key=True),
        Column("step", Integer, primary_key=True, autoincrement=False),
        Column("assigned", String(64), primary_key=True),
    ]


PAGE_SUMS = Table(
    "outcome_page_sums",
    metadata,
    *_split_columns(),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("pages", Float, nullable=False),
    Column("posts", Float, nullable=False),
    Column("engagement", Float, nullable=False),
    Column("disliked", Float, nullable=False),
    Column("author_share", Float, nullable=False),
    Column("age_hours", Float, nullable=False),
)

REQUEST_SUMS = Table(
    "outcome_request_sums",
    metadata,
    *_split_columns(),
    Column("user", String(MOST_ID_CHARACTERS), primary_key=True),  # as the client wrote it
    Column("requests", Float, nullable=False),
    Column("failed", Float, nullable=False),
    Column("pages", Float, nullable=False),
    Column("empty", Float, nullable=False),
    Column("not_numbers", Float, nullable=False),
    Column("short", Float, nullable=False),
)

TIMES = Table(
    "outcome_times",
    metadata,
    *_split_columns(),
    Column("user", String(MOST_ID_CHARACTERS), primary_key=True),
    Column("bin", Integer, primary_key=True, autoincrement=False),
    Column("count", Float, nullable=False),
)

LOSSES = Table(
    "outcome_losses",
    metadata,
    Column("canary", String(64), primary_key=True),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("head", String(64), primary_key=True),
    Column("rows", Float, nullable=False),
    Column("positives", Float, nullable=False),
    Column("live_loss", Float, nullable=False),
    Column("canary_loss", Float, nullable=False),
)

# Engagement by day, so that a canary's users can be compared with themselves before it.
DAYS = Table(
    "outcome_days",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),  # of the events' clock, since 1970
    Column("during", String(255), primary_key=True),  # what was on trial for the user then, as "|r2|x:name|"; "" = nothing
    Column("engagement", Float, nullable=False),
    Column("logged_us", BigInteger, nullable=False),
)

KEYS = {
    PAGE_SUMS.name: (*_KEY, "user_id"),
    REQUEST_SUMS.name: (*_KEY, "user"),
    TIMES.name: (*_KEY, "user", "bin"),
    LOSSES.name: ("canary", "user_id", "head"),
    DAYS.name: ("user_id", "day", "during"),
}
NAMES = (OFFSETS.name, MARKS.name, PAGES.name, *KEYS)
