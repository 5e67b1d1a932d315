"""Incoming events come out by local day, complete and in their order, whether they were held in memory or went to disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.datasets.incoming_events import IncomingEvents
from tests.given_dataset import SCHEMAS, START, event


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMAS["events"])


@pytest.mark.parametrize("held_bytes", [0, 3_000, 1 << 30])
def test_days_come_out_whole_and_in_order_of_arrival(tmp_path: Path, held_bytes: int) -> None:
    offset = timedelta(hours=5, minutes=30)
    incoming = IncomingEvents(tmp_path / "incoming", offset, held_bytes)
    rows = [event(n, START + timedelta(hours=(n * 37) % 120), value=None if n % 2 else n / 3) for n in range(400)]
    for start in range(0, 400, 30):
        incoming.add(frame(*rows[start : start + 30]))
    found = {day: pl.concat(list(incoming.day(day))) for day in incoming.days()}
    everything = frame(*rows)
    days = (everything["occurred_at"].dt.replace_time_zone(None) + offset).dt.date()
    assert list(found) == sorted(set(days))
    for day, held in found.items():
        assert held.equals(everything.filter(days == day))
    assert incoming.rows == 400
    assert (len(list((tmp_path / "incoming").glob("*"))) > 0) == (held_bytes < 1 << 30)


def test_nothing_incoming_has_no_day(tmp_path: Path) -> None:
    incoming = IncomingEvents(tmp_path / "incoming", timedelta(0))
    incoming.add(frame())
    assert incoming.days() == []
    assert not (tmp_path / "incoming").exists()
