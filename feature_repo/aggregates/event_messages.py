"""Event messages as they arrive on the topic: one JSON object with the keys of the events contract, or an array of such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl

from feature_repo.contracts import TABLES, split_events

EVENT_SCHEMA = pl.from_arrow(TABLES["events"].empty_table()).schema


class EventMessage(msgspec.Struct, gc=False):
    """One event as JSON. Row-level rules (closed set of actions, ranges) are `contracts.split_events`'s."""

    event_id: str | None = None
    user_id: int | None = None
    post_id: int | None = None
    author_id: int | None = None
    action: str | None = None
    value: float | None = None
    product: str | None = None
    position: int | None = None
    release: str | None = None
    propensity: float | None = None
    request_id: str | None = None
    occurred_at: str | int | None = None  # ISO 8601 (UTC where it names no zone) or integer microseconds


@dataclass(frozen=True)
class Decoded:
    """Good events with the `message` each came from, and dead letters (message, text, reason)."""

    events: pl.DataFrame  # EVENT_SCHEMA and message: int64, place in the messages given
    dead: pl.DataFrame


_ONE = msgspec.json.Decoder(EventMessage | list[EventMessage])
_MANY = msgspec.json.Decoder(list[EventMessage])
_DEAD = {"message": pl.Int64, "text": pl.String, "reason": pl.String}
_INT_RANGE = {"user_id": 63, "post_id": 63, "author_id": 63, "position": 31}


def decode(messages: Sequence[bytes]) -> Decoded:
    """Read messages; one that cannot be read, or an event that breaks a rule of the contract, is a dead letter."""
    rows, places, dead = _rows(messages)
    frame, unreadable = _frame(rows, places)
    split = split_events(frame)
    reasons = [*dead, *unreadable]
    if split.dead.height:
        reasons += list(split.dead.select("message", "reason").iter_rows())
    letters = [(place, messages[place].decode(errors="replace"), reason) for place, reason in reasons]
    return Decoded(split.good, pl.DataFrame(letters, schema=_DEAD, orient="row"))


def _rows(messages: Sequence[bytes]) -> tuple[list[EventMessage], np.ndarray, list[tuple[int, str]]]:
    """Events, the message each came from, and (message, reason) of those that cannot be read."""
    try:  # one call for all is several times faster; it needs every message to be one object
        rows = _MANY.decode(b"[" + b",".join(messages) + b"]")
        if len(rows) == len(messages):
            return rows, np.arange(len(rows)), []
    except msgspec.DecodeError:
        pass  # message by message, to find out which one it is
    rows, places, dead = [], [], []
    for place, message in enumerate(messages):
        try:
            content = _ONE.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            dead.append((place, _said(error)))
            continue
        events = content if isinstance(content, list) else [content]
        rows += events
        places += [place] * len(events)
    return rows, np.array(places, np.int64), dead


def _said(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return f"not an event: {error}"
    return f"not JSON: {error}"


def _frame(rows: list[EventMessage], places: np.ndarray) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """The rows as contract columns, and (message, reason) of those with a number or moment that does not fit."""
    columns = list(zip(*map(msgspec.structs.astuple, rows), strict=True)) or [()] * len(EventMessage.__struct_fields__)
    named = dict(zip(EventMessage.__struct_fields__, columns, strict=True))
    unfit: dict[int, str] = {}
    series = {}
    for name, kind in EVENT_SCHEMA.items():
        if name == "occurred_at":
            series[name] = _moments(named[name], unfit)
        elif name in _INT_RANGE:
            series[name] = _integers(name, named[name], unfit)
        else:
            series[name] = pl.Series(name, named[name], dtype=kind)
    frame = pl.DataFrame([series[name].alias(name) for name in EVENT_SCHEMA]).with_columns(
        message=pl.Series(places, dtype=pl.Int64)
    )
    if not unfit:
        return frame, []
    bad = sorted(unfit)
    kept = np.setdiff1d(np.arange(len(rows)), bad)
    return frame[kept], [(int(places[row]), unfit[row]) for row in bad]


def _integers(name: str, values: Sequence[int | None], unfit: dict[int, str]) -> pl.Series:
    kind = EVENT_SCHEMA[name]
    try:
        return pl.Series(name, values, dtype=kind)
    except (OverflowError, TypeError):
        limit = 1 << _INT_RANGE[name]
        fitting = []
        for row, value in enumerate(values):
            fits = value is None or -limit <= value < limit
            if not fits:
                unfit.setdefault(row, f"{name}: {value} does not fit")
            fitting.append(value if fits else None)
        return pl.Series(name, fitting, dtype=kind)


def _moments(values: Sequence[str | int | None], unfit: dict[int, str]) -> pl.Series:
    if all(type(value) is int for value in values):
        try:
            return pl.Series(values, dtype=pl.Int64).cast(EVENT_SCHEMA["occurred_at"])
        except OverflowError:
            pass  # one by one, to find out which it is
    moments = []
    for row, value in enumerate(values):
        try:
            moments.append(_microseconds(value))
        except (ValueError, OverflowError) as error:
            unfit.setdefault(row, f"occurred_at: {value!r} is no moment: {error}")
            moments.append(None)
    return pl.Series(moments, dtype=pl.Int64).cast(EVENT_SCHEMA["occurred_at"])


_LATEST_US = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 1_000_000


def _microseconds(value: str | int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, int):
        if not -_LATEST_US < value < _LATEST_US:
            raise ValueError("beyond the year 9999")
        return value
    moment = datetime.fromisoformat(value)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0).timestamp()
    return int(whole) * 1_000_000 + moment.microsecond
