"""Cells by their definition, event by event, in plain Python: what both engines are held to. Slow, and meant to be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from feature_repo.aggregates.cells import BUCKET_US, SPANS_US, faded_at, sliding_at
from feature_repo.aggregates.families import FAMILY_OF, Family
from feature_repo.aggregates.measures import BUCKETS, COUNTED, HOUR_US, MEASURES, UNDATED, VALUE_CAP_S, VALUED
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.surfaces import surface_code

Key = tuple[int, int, str]


@dataclass
class Remembered:
    """Everything that reached one (key, measure)."""

    amounts: list[tuple[int, float]] = field(default_factory=list)  # (at, amount) of dated events
    undated: int = 0
    newest_us: int = 0
    met: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    def fading(self, now_us: int) -> np.ndarray:
        """float64 (windows,)"""
        sums = [sum(amount * 2.0 ** (-(now_us - at) / span) for at, amount in self.amounts) for span in SPANS_US.tolist()]
        return np.array(sums)

    def sliding(self, now_us: int) -> np.ndarray:
        """int64 (windows,)"""
        lengths = BUCKET_US.tolist()
        return np.array([sum(now_us // b - BUCKETS < at // b <= now_us // b for at, _ in self.amounts) for b in lengths])

    @property
    def total(self) -> float:
        return sum(amount for _, amount in self.amounts) + self.undated


def remembered(events: pl.DataFrame, family: Family, until_us: int | None = None) -> dict[Key, Remembered]:
    """(a, b, measure name) -> what `events` (`event_log.read_events`) before `until_us` left there."""
    cells: dict[Key, Remembered] = {}
    for event in events.iter_rows(named=True):
        if until_us is not None and event["at"] >= until_us:
            continue
        ids = {
            **event,
            "hour": event["at"] // HOUR_US % 24,
            "product": surface_code(event["product"]),
        }
        if "topic" in family.ids and event["topic"] < 0:
            continue
        if event["product"] == HISTORY_BEFORE and not family.undated:
            continue
        a, b = ids[family.ids[0]], ids[family.ids[1]] if len(family.ids) > 1 else 0
        for measure, amount in _amounts(event):
            cell = cells.setdefault((a, b, measure), Remembered())
            cell.newest_us = max(cell.newest_us, event["at"])
            if measure in UNDATED:
                cell.undated += 1
                continue
            cell.amounts.append((event["at"], amount))
            if measure in COUNTED:
                _meet(cell, family, ids)
    return cells


def _amounts(event: dict) -> list[tuple[str, float]]:
    """What the event adds to which measure."""
    if event["product"] == HISTORY_BEFORE:
        return [(measure, 1.0) for measure, action in UNDATED.items() if action == event["action"]]
    added = [(event["action"], 1.0)]
    for measure, action in VALUED.items():
        if action == event["action"] and event["value"] is not None:
            added.append((measure, min(max(event["value"] / 1000, 0.0), VALUE_CAP_S)))
    return added


def _meet(cell: Remembered, family: Family, ids: dict) -> None:
    for place, pair in enumerate(family.distinct):
        (other,) = set(FAMILY_OF[pair].ids) - set(family.ids)
        if other != "topic" or ids["topic"] >= 0:
            cell.met[place].add(ids[other])


def assert_same_cells(cells: np.ndarray, expected: dict[Key, Remembered], now_us: int) -> None:
    """Hold CELLs (n,) of one family to the definition, as read at `now_us`; every key must be there, and no other."""
    keys = list(zip(cells["a"].tolist(), cells["b"].tolist(), [MEASURES[m] for m in cells["measure"]], strict=True))
    assert len(set(keys)) == len(keys), "a cell stands twice"
    assert set(keys) == set(expected)
    wanted = [expected[key] for key in keys]
    assert cells["newest_us"].tolist() == [one.newest_us for one in wanted]
    np.testing.assert_allclose(cells["total"], [one.total for one in wanted], rtol=1e-9)
    faded = np.array([one.fading(now_us) for one in wanted]).reshape(-1, len(SPANS_US))
    np.testing.assert_allclose(faded_at(cells, now_us), faded, rtol=1e-9, atol=1e-30)
    counted = np.isin([key[2] for key in keys], COUNTED)
    sliding = np.array([one.sliding(now_us) for one in wanted], np.int64).reshape(-1, len(SPANS_US))
    np.testing.assert_array_equal(sliding_at(cells, now_us)[counted], sliding[counted])
    assert not sliding_at(cells, now_us)[~counted].any(), "valued and undated measures have no sliding count"
    assert cells["distinct"].tolist() == [[len(met) for met in one.met] for one in wanted]
