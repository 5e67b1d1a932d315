"""Event messages as they arrive on the topic: JSON objects with the keys of the events contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from feature_repo.contracts import TABLES

EVENT_SCHEMA = pl.from_arrow(TABLES["events"].empty_table()).schema
EVENTS_TOPIC = "events"

_INTEGERS = ("user_id", "post_id", "author_id", "position")
_NUMBERS = ("value", "propensity")
_TEXTS = ("event_id", "action", "product", "release", "request_id")


class UnreadableEvent(ValueError):
    """A message cannot be read as an event; the message says which field and why."""


def read_event(message: bytes) -> dict[str, Any]:
    """One row of the events contract. Row-level rules (closed set of actions, ranges) are `contracts.split_events`'s."""
    try:
        content = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise UnreadableEvent(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UnreadableEvent(f"a JSON object is wanted, got {type(content).__name__}")
    row: dict[str, Any] = {name: _integer(name, content.get(name)) for name in _INTEGERS}
    row |= {name: _number(name, content.get(name)) for name in _NUMBERS}
    row |= {name: _text(name, content.get(name)) for name in _TEXTS}
    row["occurred_at"] = _moment(content.get("occurred_at"))
    return row


def event_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of `read_event` as a frame with the contract's columns and types."""
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


def _integer(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnreadableEvent(f"{name}: an integer is wanted, got {value!r}")
    limit = 2**31 if name == "position" else 2**63
    if not -limit <= value < limit:
        raise UnreadableEvent(f"{name}: {value} does not fit")
    return value


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnreadableEvent(f"{name}: a number is wanted, got {value!r}")
    return float(value)


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UnreadableEvent(f"{name}: text is wanted, got {value!r}")
    return value


def _moment(value: Any) -> datetime | None:
    """ISO 8601 (UTC where it names no zone) or integer microseconds."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int) and not isinstance(value, bool):
            seconds, microseconds = divmod(value, 1_000_000)
            return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    except (ValueError, OverflowError, OSError) as error:
        raise UnreadableEvent(f"occurred_at: {value!r} is no moment: {error}") from error
    raise UnreadableEvent(f"occurred_at: ISO 8601 text or integer microseconds are wanted, got {value!r}")
