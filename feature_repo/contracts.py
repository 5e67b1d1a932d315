"""The four contract tables as Arrow schemas, and the check that every door applies.

Times are UTC with microseconds. A bad event is never dropped silently: `split_events` returns it with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.event_times import EARLIEST


class Action(StrEnum):
    """What a user did to a post, or to its author. The set is closed."""

    IMPRESSION = "impression"
    CLICK = "click"
    LIKE = "like"
    REPLY = "reply"
    REPOST = "repost"
    QUOTE = "quote"
    SHARE = "share"
    BOOKMARK = "bookmark"
    FOLLOW = "follow"
    PROFILE_CLICK = "profile_click"
    DWELL = "dwell"  # value: milliseconds
    VIDEO_VIEW = "video_view"  # a quality view; value: milliseconds played
    NOT_INTERESTED = "not_interested"
    MUTE = "mute"
    BLOCK = "block"
    REPORT = "report"
    # Slots for a dataset's own actions; feature_repo/heads.py says which slot stands for what kind of action.
    OWN_1 = "own_1"
    OWN_2 = "own_2"
    OWN_3 = "own_3"
    OWN_4 = "own_4"
    OWN_5 = "own_5"
    OWN_6 = "own_6"
    OWN_7 = "own_7"
    OWN_8 = "own_8"


class EdgeKind(StrEnum):
    """A user's standing relation to another account."""

    FOLLOW = "follow"
    BLOCK = "block"
    MUTE = "mute"
    SUBSCRIBE = "subscribe"
    LIST_MEMBER = "list_member"


TIME = pa.timestamp("us", tz="UTC")

# Characters of the texts that an event names things by.
MOST_EVENT_ID = 256
MOST_PRODUCT = 64
MOST_REQUEST_ID = 128

# The most that an event's value may be: what is beyond is a fault of the sender, and one such row would move every mean.
MOST_DURATION_MS = 30 * 24 * 3_600_000
MOST_VALUE = 1e9
# How the event_id of an impression begins that no log holds: read off interactions, or sampled beside one that was.
DERIVED, SAMPLED = "derived-", "sampled-"
DURATIONS = (Action.DWELL.value, Action.VIDEO_VIEW.value)

# Product name of exposures that are known only as an undated, ordered list from before the first logged day.
# Their occurred_at is an upper bound; `position` carries the order within the user's list.
HISTORY_BEFORE = "history_before"

Texts = TypeVar("Texts", pl.Expr, pl.Series)


def _field(name: str, kind: pa.DataType, *, required: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=not required)


EVENTS = pa.schema(
    [
        _field("event_id", pa.string()),
        _field("user_id", pa.int64()),
        _field("post_id", pa.int64()),
        _field("author_id", pa.int64()),
        _field("action", pa.string()),
        _field("value", pa.float64(), required=False),
        _field("product", pa.string()),
        _field("position", pa.int32(), required=False),
        _field("release", pa.string(), required=False),
        _field("propensity", pa.float64(), required=False),
        _field("request_id", pa.string(), required=False),
        _field("occurred_at", TIME),
    ]
)

POSTS = pa.schema(
    [
        _field("post_id", pa.int64()),
        _field("author_id", pa.int64()),
        _field("created_at", TIME),
        _field("topics", pa.list_(pa.int32())),
        _field("media", pa.string()),
        _field("duration_ms", pa.int64(), required=False),
        _field("language", pa.string(), required=False),
        _field("text", pa.string(), required=False),
        _field("in_reply_to", pa.int64(), required=False),
        _field("embedding", pa.list_(pa.float32()), required=False),  # finite, of one length in all posts
    ]
)

USERS = pa.schema(
    [
        _field("user_id", pa.int64()),
        _field("created_at", TIME, required=False),
        _field("language", pa.string(), required=False),
        _field("followers", pa.int64(), required=False),
        _field("following", pa.int64(), required=False),
        _field("attributes", pa.list_(pa.int32())),  # categorical codes, fixed order per dataset, -1 = unknown
    ]
)

EDGES = pa.schema(
    [
        _field("user_id", pa.int64()),
        _field("target_id", pa.int64()),
        _field("kind", pa.string()),
        _field("weight", pa.float32()),
        _field("derived", pa.bool_()),  # true: inferred from engagements, not declared by the user
        _field("created_at", TIME),
    ]
)

TABLES: dict[str, pa.Schema] = {"events": EVENTS, "posts": POSTS, "users": USERS, "edges": EDGES}

# Columns that a table may lack altogether: datasets without them, and lakes from before there were such columns.
OPTIONAL_COLUMNS: dict[str, tuple[str, ...]] = {"posts": ("embedding",)}


class ContractError(ValueError):
    """A table does not have the columns or types of its contract."""


def check_table(name: str, table: pa.Table | pl.DataFrame) -> pa.Table:
    """Return `table` with exactly the columns and types of contract `name`; raise ContractError naming the column.

    A column of OPTIONAL_COLUMNS that is not there is null in every row.
    """
    schema = TABLES[name]
    arrow = completed(name, table).to_arrow() if isinstance(table, pl.DataFrame) else table
    missing = [column for column in schema.names if column not in arrow.column_names]
    if missing:
        raise ContractError(f"{name}: column {missing[0]!r} is missing; the contract asks for {schema.names}")
    columns = []
    for field in schema:
        column = arrow.column(field.name)
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ContractError(f"{name}.{field.name}: {column.type} does not fit {field.type}: {error}") from error
        if not field.nullable and column.null_count:
            row = column.is_null().index(True).as_py()
            raise ContractError(f"{name}.{field.name}: null at row {row}, but the contract requires a value")
        if field.name == "embedding":
            _check_embeddings(column)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def completed(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """`table` with the OPTIONAL_COLUMNS of contract `name` that it lacks, null in every row, after its own."""
    lacking = [column for column in OPTIONAL_COLUMNS.get(name, ()) if column not in table.columns]
    kinds = pl.from_arrow(TABLES[name].empty_table()).schema
    return table.with_columns(pl.lit(None, kinds[column]).alias(column) for column in lacking) if lacking else table


def _check_embeddings(column: pa.ChunkedArray) -> None:
    """Raise ContractError unless all embeddings have one length, above 0, and nothing but finite numbers."""
    lengths = pc.unique(pc.list_value_length(column)).drop_null().to_pylist()
    if len(lengths) > 1 or 0 in lengths:
        raise ContractError(
            f"posts.embedding: lengths {', '.join(str(length) for length in sorted(lengths)[:5])}; "
            "all embeddings have one length, and a post without one has null"
        )
    numbers = pc.list_flatten(column)
    if numbers.null_count or not pc.all(pc.is_finite(numbers), min_count=0).as_py():
        raise ContractError("posts.embedding: a value is no finite number; a post without an embedding has null")


@dataclass(frozen=True)
class SplitEvents:
    """Events that hold to the contract, and the others with a `reason` column."""

    good: pl.DataFrame
    dead: pl.DataFrame


RESERVED_ID = f"event_id begins with {DERIVED!r} or {SAMPLED!r}, which the platform keeps for its own impressions: rename it"


def is_made_up(event_id: Texts) -> Texts:
    """Whether the platform derived or sampled the impression with this id."""
    return event_id.str.starts_with(DERIVED) | event_id.str.starts_with(SAMPLED)


def split_events(events: pl.DataFrame) -> SplitEvents:
    """Part rows that break a row-level rule of the events contract from those that do not; none is lost."""
    rules = _event_rules()
    # Most batches break no rule: they are not copied, nor are blanks looked for where no text may be one.
    perhaps = (broken.any().alias(str(place)) for place, (broken, _) in enumerate(_event_rules(_perhaps_absent)))
    if not any(events.select(perhaps).row(0)):
        return SplitEvents(good=events, dead=events.clear().with_columns(reason=pl.lit(None, pl.String)))
    reason = pl.coalesce([pl.when(broken).then(pl.lit(text) if isinstance(text, str) else text) for broken, text in rules])
    marked = events.with_columns(reason=reason)
    return SplitEvents(
        good=marked.filter(pl.col("reason").is_null()).drop("reason"),
        dead=marked.filter(pl.col("reason").is_not_null()),
    )


def _event_rules(absent: Callable[[str], pl.Expr] | None = None) -> list[tuple[pl.Expr, str | pl.Expr]]:
    """Conditions that no event may meet, in the order in which they are named, each with its reason.

    `absent` says which cells of a column are null or blank; by default exactly those.
    """
    absent = absent or _absent
    value, propensity = pl.col("value"), pl.col("propensity")
    return [
        (absent("event_id"), "event_id is empty"),
        (_long("event_id", MOST_EVENT_ID), f"event_id has more than {MOST_EVENT_ID} characters"),
        (pl.col("user_id").is_null() | (pl.col("user_id") < 0), "user_id is null or negative"),
        (pl.col("post_id").is_null() | (pl.col("post_id") < 0), "post_id is null or negative"),
        (pl.col("author_id").is_null(), "author_id is null"),
        (
            pl.col("action").is_null() | ~pl.col("action").is_in([action.value for action in Action]),
            "action is not in the closed set",
        ),
        (pl.col("product").is_null(), "product is null"),
        (absent("product"), "product is empty"),
        (_long("product", MOST_PRODUCT), f"product has more than {MOST_PRODUCT} characters"),
        (value.is_nan().fill_null(False) | value.is_infinite().fill_null(False), "value is not finite"),
        ((value < 0).fill_null(False), "value is negative"),
        *_too_large(value),
        (
            ((pl.col("action") == Action.DWELL.value) & value.is_null()).fill_null(False),
            "value is null: a dwell gives its milliseconds",
        ),
        (
            ((propensity <= 0) | (propensity > 1) | propensity.is_nan()).fill_null(False),
            "propensity is outside (0, 1]",
        ),
        (absent("request_id") & pl.col("request_id").is_not_null(), "request_id is empty"),
        (_long("request_id", MOST_REQUEST_ID), f"request_id has more than {MOST_REQUEST_ID} characters"),
        (pl.col("occurred_at").is_null(), "occurred_at is null"),
        ((pl.col("occurred_at") < EARLIEST).fill_null(False), f"occurred_at is before {EARLIEST:%Y-%m-%d}"),
    ]


def _too_large(value: pl.Expr) -> list[tuple[pl.Expr, pl.Expr]]:
    """The two bounds of a value: that of durations, and that of all others."""
    lasts = pl.col("action").is_in(DURATIONS)
    days = MOST_DURATION_MS // (24 * 3_600_000)
    too_long = f"value {{}} is above {MOST_DURATION_MS:,}, the most milliseconds ({days} days) that a {{}} may last"
    too_much = f"value {{}} is above {MOST_VALUE:,.0f}, the most that the value of an event may be"
    return [
        ((lasts & (value > MOST_DURATION_MS)).fill_null(False), pl.format(too_long, value, "action")),
        ((~lasts & (value > MOST_VALUE)).fill_null(False), pl.format(too_much, value)),
    ]


def _absent(column: str) -> pl.Expr:
    """Null, empty or nothing but white space."""
    return pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")


def _perhaps_absent(column: str) -> pl.Expr:
    """All that are absent and maybe others: null, empty, or beginning as white space does, in ASCII or beyond it."""
    return pl.col(column).is_null() | (pl.col(column) < "!") | (pl.col(column) >= "\x7f")


def _long(column: str, most: int) -> pl.Expr:
    # Bytes are free to count and no fewer than characters: only what has too many of them is counted by characters.
    over = pl.col(column).str.len_bytes() > most
    return (over & (pl.col(column).str.len_chars() > most)).fill_null(False)
