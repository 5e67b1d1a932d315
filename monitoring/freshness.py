"""How fresh the features are: what the stream worker says it has applied, beside what the broker still holds for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRESS_FILE = "progress.json"  # written by the stream worker after each save
REPLAYED_S = 24 * 3_600.0  # events that were this old when they were saved are a log that is replayed, not life


@dataclass(frozen=True)
class Backlog:
    """What waits at the broker for the stream worker. `oldest_s`: when the oldest waiting record was sent, Unix seconds."""

    records: int
    oldest_s: float | None = None


@dataclass(frozen=True)
class Freshness:
    """Ages in seconds. None: not known, since the worker has not saved yet or the broker was not seen."""

    newest_event_age_s: float | None  # now minus the newest applied event
    replayed: bool  # the events are a log of other days: their age says nothing, how long records wait does
    last_save_age_s: float | None
    cells_waiting: int  # cells whose newest values are not in the online store yet
    records_waiting: int | None
    behind_s: float | None  # how long the oldest record that is not saved yet has waited; 0 where none waits
    unanswered: int | None = None  # actions, applied or seeded, without an exposure that they answer


def freshness(progress: Mapping[str, Any] | None, backlog: Backlog | None, now_s: float) -> Freshness:
    """Freshness at `now_s` (Unix seconds) from what the worker wrote last and what the broker was seen to hold."""
    waiting = None if backlog is None else backlog.records
    if progress is None:
        return Freshness(None, False, None, 0, waiting, _behind_s(backlog, None, now_s))
    saved_s, newest_us = float(progress["written_at"]), progress["newest_event_us"]
    newest_s = None if newest_us is None else newest_us / 1e6
    return Freshness(
        newest_event_age_s=None if newest_s is None else max(now_s - newest_s, 0.0),
        # Compared with the save, not with now: a worker that stands still for days has not become a replay by that.
        replayed=newest_s is not None and saved_s - newest_s > REPLAYED_S,
        last_save_age_s=max(now_s - saved_s, 0.0),
        cells_waiting=int(progress["waiting"]),
        records_waiting=waiting,
        behind_s=_behind_s(backlog, saved_s, now_s),
        unanswered=progress.get("unanswered"),
    )


def _behind_s(backlog: Backlog | None, saved_s: float | None, now_s: float) -> float | None:
    if backlog is None:
        return None
    if backlog.records == 0:
        return 0.0
    # A record that could not be read for its time has waited since the last save at most.
    since_s = backlog.oldest_s if backlog.oldest_s is not None else saved_s
    return None if since_s is None else max(now_s - since_s, 0.0)


def read_progress(stream: Path) -> dict[str, Any] | None:
    """What the stream worker wrote last under its folder; None before the first save."""
    try:
        return json.loads((stream / PROGRESS_FILE).read_text())
    except FileNotFoundError:
        return None
