"""The door for client events: each one is accepted, or rejected with its reason; none disappears."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, ValidationError

from feature_repo.contracts import EVENTS, split_events

TOPIC = "events"
DEAD_LETTERS = "dead_letters"
CLOCK_SKEW_S = 600  # how far ahead of the server's clock a client's may run
_INT64 = 2**63


class ClientEvent(BaseModel):
    """One thing a user did, as a client reports it. Row-level rules are those of the events contract."""

    model_config = ConfigDict(extra="forbid")

    event_id: str | None = Field(None, description="Stable id; sending the same id again changes nothing. Made up when absent.")
    user_id: StrictInt = Field(ge=0, lt=_INT64)
    post_id: StrictInt = Field(ge=0, lt=_INT64)
    author_id: StrictInt | None = Field(None, ge=-_INT64, lt=_INT64, description="Looked up from the post when absent.")
    action: str
    value: float | None = None
    product: str = "for_you"
    position: StrictInt | None = Field(None, ge=0, lt=2**31)
    release: str | None = None
    propensity: float | None = None
    request_id: str | None = None
    occurred_at: AwareDatetime | None = Field(None, description="ISO 8601 with a time zone; the time of arrival when absent.")


@dataclass(frozen=True)
class Rejected:
    """An event that was refused: its place in the batch, why, and what was sent."""

    index: int
    reason: str
    sent: object


@dataclass(frozen=True)
class Examined:
    """A batch, parted: accepted events as dicts with the keys of EVENTS (occurred_at: int microseconds), and the rest."""

    accepted: list[dict]
    rejected: list[Rejected]


def examine(
    sent: Sequence[object], author_of: Callable[[int], int | None], *, user_id: int | None = None, now: datetime | None = None
) -> Examined:
    """Part a batch of client events.

    `author_of` gives the author of a post, or None for an unknown post; `user_id` stands in where an event names no user.
    """
    now = now or datetime.now(UTC)
    typed: list[tuple[int, dict]] = []
    rejected: list[Rejected] = []
    for index, item in enumerate(sent):
        try:
            typed.append((index, _completed(ClientEvent.model_validate(_with_user(item, user_id)), author_of, now)))
        except ValidationError as error:
            rejected.append(Rejected(index, _in_words(error), item))
        except ValueError as error:
            rejected.append(Rejected(index, str(error), item))
    reasons = _contract_reasons([row for _, row in typed])
    accepted = [row for (_, row), reason in zip(typed, reasons, strict=True) if reason is None]
    rejected += [Rejected(i, reason, sent[i]) for (i, _), reason in zip(typed, reasons, strict=True) if reason is not None]
    return Examined(accepted, sorted(rejected, key=lambda one: one.index))


def _with_user(item: object, user_id: int | None) -> object:
    return {"user_id": user_id, **item} if isinstance(item, dict) and user_id is not None else item


def _completed(event: ClientEvent, author_of: Callable[[int], int | None], now: datetime) -> dict:
    """The event with everything the contract asks for; ValueError says what cannot be completed."""
    occurred_at = event.occurred_at or now
    if (occurred_at - now).total_seconds() > CLOCK_SKEW_S:
        raise ValueError(f"occurred_at {occurred_at.isoformat()} is more than {CLOCK_SKEW_S} s in the future")
    author_id = event.author_id if event.author_id is not None else author_of(event.post_id)
    if author_id is None:
        raise ValueError(f"post {event.post_id} is unknown: send author_id with the event")
    return {
        **event.model_dump(),
        "event_id": event.event_id if event.event_id is not None else str(uuid.uuid4()),
        "author_id": author_id,
        "occurred_at": round(occurred_at.timestamp() * 1e6),
    }


def _contract_reasons(rows: list[dict]) -> list[str | None]:
    """For each row the rule of the events contract that it breaks, or None."""
    if not rows:
        return []
    schema = pl.from_arrow(EVENTS.empty_table()).schema
    frame = pl.DataFrame(rows, schema_overrides={**schema, "occurred_at": pl.Int64}).with_columns(
        pl.from_epoch("occurred_at", time_unit="us").dt.replace_time_zone("UTC")
    )
    dead = split_events(frame.with_row_index("row")).dead
    reasons = dict(zip(dead["row"], dead["reason"], strict=True))
    return [reasons.get(row) for row in range(len(rows))]


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'event'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False)
    )
