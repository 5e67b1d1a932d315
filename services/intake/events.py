"""The door for client events: each one is accepted, or rejected with its reason; none disappears."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, ValidationError

from feature_repo.contracts import DERIVED, EVENTS, MOST_EVENT_ID, RESERVED_ID, SAMPLED, Action, split_events
from feature_repo.event_times import EARLIEST, INTAKE_AHEAD_S
from feature_repo.ids import RememberedIds
from feature_repo.surfaces import DEFAULT_SURFACE, check_surface
from services.intake.id_fields import ClientId
from services.intake.post_authors import another_author, authors_of_rows, claimed_authors

MOST_BYTES = 1_000_000  # of one event as it was sent; what the producer takes in one message
LETTER_CHARACTERS = 50_000  # of what was sent, kept in a dead letter
_SHOWN = 64  # characters of a name that a reason quotes
CONTRACT_ACTIONS = [action.value for action in Action if not action.value.startswith("own_")]
_NOT_ASKED = "Ignored: the platform fills it in from what it served."


class ClientEvent(BaseModel):
    """One thing a user did, as a client reports it. Row-level rules are those of the events contract."""

    model_config = ConfigDict(extra="forbid")

    event_id: str | None = Field(
        None, description=f"Stable id, at most {MOST_EVENT_ID} characters; a repeat changes nothing. Made up when absent."
    )
    user_id: ClientId = Field(description="Who did it; may be left out where the batch names the user.")
    post_id: ClientId = Field(
        description="The post; of an action on its author, such as follow, the post at which it was done."
    )
    author_id: ClientId | None = Field(
        None, description="Needed for a post that the platform does not know yet; looked up from the post otherwise."
    )
    action: str = Field(description=f"What was done: one of {', '.join(CONTRACT_ACTIONS)}, or an action of the dataset's own.")
    value: float | None = Field(
        None,
        description="How much of it: milliseconds, of dwell (needed there) and of video_view; of other actions any amount.",
    )
    product: str = Field(DEFAULT_SURFACE, description="Surface: the place where the post was shown, as the logs name it.")
    position: StrictInt | None = Field(None, ge=0, lt=2**31, description="Place of the post in the list shown, from 0.")
    release: Any = Field(None, description=_NOT_ASKED)
    propensity: Any = Field(None, description=_NOT_ASKED)
    request_id: str | None = Field(None, description="Of the page that showed the post: joins the event with what was served.")
    occurred_at: AwareDatetime | None = Field(
        None, description="When it was done, ISO 8601 with a time zone; the time of arrival when absent."
    )


class ServedPost(Protocol):
    """How a post was served."""

    release: str
    propensity: float


@dataclass(frozen=True)
class Platform:
    """What events are completed and checked with.

    author_of: the author's number of a post's number, None for an unknown post. served_of: how a request showed a post to a
    user, None where that is not known. earliest: before it no event of this home can have happened.
    """

    ids: RememberedIds
    author_of: Callable[[int], int | None]
    served_of: Callable[[str | None, int, int], ServedPost | None] = lambda request_id, user_id, post_id: None
    earliest: datetime = EARLIEST
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True)
class Rejected:
    """An event that was refused: its place in the batch, why, and what was sent."""

    index: int
    reason: str
    sent: object


@dataclass(frozen=True)
class Examined:
    """A batch, parted: accepted events as dicts with the keys of EVENTS (occurred_at: int microseconds), and the rest.

    indexes: the place of each accepted event in the batch.
    """

    accepted: list[dict]
    indexes: list[int]
    rejected: list[Rejected]


def examine(
    sent: Sequence[object], platform: Platform, *, user_id: str | int | None = None, now: datetime | None = None
) -> Examined:
    """Part a batch of client events; ids of accepted ones that are new are allotted their numbers, so this may wait.

    `user_id` stands in where an event names no user.
    """
    now = now or datetime.now(UTC)
    rejected: list[Rejected] = []

    def checked(pairs: list[tuple[int, Any]], step: Callable[[Any], Any]) -> list[tuple[int, Any]]:
        passed = []
        for index, item in pairs:
            try:
                passed.append((index, step(item)))
            except ValidationError as error:
                rejected.append(Rejected(index, _in_words(error), sent[index]))
            except ValueError as error:
                rejected.append(Rejected(index, str(error), sent[index]))
        return passed

    typed = checked(list(enumerate(sent)), lambda item: _typed(item, user_id, platform.most_bytes))
    timed = checked(typed, lambda event: _row(event, platform, now))
    reasons = _contract_reasons([row for _, row in timed])
    rejected += [Rejected(i, reason, sent[i]) for (i, _), reason in zip(timed, reasons, strict=True) if reason is not None]
    held = [pair for pair, reason in zip(timed, reasons, strict=True) if reason is None]
    rows, reasons = authors_of_rows([row for _, row in held], platform.ids, platform.author_of)
    rejected += [Rejected(i, reason, sent[i]) for (i, _), reason in zip(held, reasons, strict=True) if reason is not None]
    authored = [(index, row) for (index, _), row in zip(held, rows, strict=True) if row is not None]
    accepted: list[tuple[int, dict]] = []
    for (index, row), message in zip(authored, _numbered([row for _, row in authored], platform), strict=True):
        if message is None:  # another process has just taken an event that names another author
            rejected.append(Rejected(index, another_author(row), sent[index]))
        else:
            accepted.append((index, message))
    return Examined(
        [message for _, message in accepted],
        [index for index, _ in accepted],
        sorted(rejected, key=lambda one: one.index),
    )


def dead_letter(refused: Rejected, received_us: int) -> dict:
    """The message that keeps a refused event; what is too long is cut, with its whole size beside it."""
    # As text: what is refused may hold numbers and strings that no strict encoder takes.
    text = json.dumps(refused.sent)
    letter = {"reason": refused.reason, "sent": text[:LETTER_CHARACTERS], "received_at": received_us}
    return letter if len(text) <= LETTER_CHARACTERS else {**letter, "sent_characters": len(text)}


def action_of(name: str, own_actions: dict[str, str]) -> str:
    """The contract's action of a client's action name; ValueError names the known ones, or the two that it could be."""
    known = CONTRACT_ACTIONS
    if name in known and name in own_actions:
        both = "an action of the contract and one of this dataset's own"
        raise ValueError(f"action {name!r} is both {both}: rename it in the mapping and ingest again")
    if name in known:
        return name
    if name in own_actions:
        return own_actions[name]
    raise ValueError(f"action {name[:_SHOWN]!r} is not known; known actions: {', '.join([*known, *own_actions])}")


def _typed(item: object, user_id: str | int | None, most_bytes: int) -> ClientEvent:
    size = _size(item)
    if size > most_bytes:
        raise ValueError(f"the event has {size:,} bytes; the limit is {most_bytes:,}")
    with_user = {"user_id": user_id, **item} if isinstance(item, dict) and user_id is not None else item
    return ClientEvent.model_validate(with_user)


def _size(item: object) -> int:
    try:
        return len(orjson.dumps(item))
    except TypeError:  # a number beyond 64 bits, or half of a surrogate pair
        return len(json.dumps(item))


def _row(event: ClientEvent, platform: Platform, now: datetime) -> dict:
    """The event as a row of the contract, its ids still as they were sent; ValueError says what cannot be."""
    check_surface(event.product, "product")
    for name in ("request_id", "event_id"):
        if "\0" in (getattr(event, name) or ""):
            raise ValueError(f"{name} holds a NUL character; leave it out")
    if event.event_id is not None and event.event_id.startswith((DERIVED, SAMPLED)):
        raise ValueError(RESERVED_ID)
    occurred_at = event.occurred_at or now
    # Compared as they stand: moments at the ends of the calendar have no number of microseconds in UTC.
    if occurred_at < platform.earliest:
        before = f"before {platform.earliest.isoformat()}, when nothing can have happened here yet"
        raise ValueError(f"occurred_at {occurred_at.isoformat()} is {before}: set the sender's clock")
    if (occurred_at - now).total_seconds() > INTAKE_AHEAD_S:
        raise ValueError(f"occurred_at {occurred_at.isoformat()} is more than {INTAKE_AHEAD_S} s in the future")
    return {
        **event.model_dump(exclude={"release", "propensity"}),
        "action": action_of(event.action, platform.ids.own_actions),
        "event_id": event.event_id if event.event_id is not None else str(uuid.uuid4()),
        "occurred_at": round(occurred_at.timestamp() * 1e6),
    }


def _contract_reasons(rows: list[dict]) -> list[str | None]:
    """For each row the rule of the events contract that it breaks, or None. Ids are checked already."""
    if not rows:
        return []
    schema = pl.from_arrow(EVENTS.empty_table()).schema
    placeholders = {"user_id": 0, "post_id": 0, "author_id": 0, "release": None, "propensity": None}
    frame = pl.DataFrame([row | placeholders for row in rows], {**schema, "occurred_at": pl.Int64}).with_columns(
        pl.from_epoch("occurred_at", time_unit="us").dt.replace_time_zone("UTC")
    )
    dead = split_events(frame.with_row_index("row")).dead
    reasons = dict(zip(dead["row"], dead["reason"], strict=True))
    return [reasons.get(row) for row in range(len(rows))]


def _numbered(rows: list[dict], platform: Platform) -> list[dict | None]:
    """The rows as messages: ids as numbers, with the release and propensity of what was served; None where another author's
    event of the post came first.
    """
    ids = platform.ids
    users = ids.allotted("user", [row["user_id"] for row in rows])
    posts = ids.allotted("post", [row["post_id"] for row in rows])
    given = iter(ids.allotted("author", [row["author_id"] for row in rows if "author" not in row]))
    authors = [row["author"] if "author" in row else next(given) for row in rows]
    claimed = claimed_authors(rows, posts, authors, ids)
    return [
        _message(row, user, post, author, platform) if claimed.get(post, author) == author else None
        for row, user, post, author in zip(rows, users, posts, authors, strict=True)
    ]


def _message(row: dict, user_id: int, post_id: int, author_id: int, platform: Platform) -> dict:
    served = platform.served_of(row["request_id"], user_id, post_id)
    release, propensity = (None, None) if served is None else (served.release, served.propensity)
    known = {"user_id": user_id, "post_id": post_id, "author_id": author_id, "release": release, "propensity": propensity}
    return {name: known.get(name, row.get(name)) for name in EVENTS.names}


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part)[:_SHOWN] for part in one['loc']) or 'event'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False)[:5]
    )
