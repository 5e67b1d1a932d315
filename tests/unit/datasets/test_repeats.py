"""A repeated event is kept once, wherever its copies came, and no other event is lost."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.datasets import repeats
from feature_repo.datasets.repeats import EventIds, FirstCopies


def kept(*batches: list[str]) -> tuple[list[list[str]], int]:
    """What stays of each batch, and how many were dropped."""
    frames = [pl.DataFrame({"event_id": batch}, schema={"event_id": pl.String}) for batch in batches]
    ids = EventIds()
    for frame in frames:
        ids.add(frame["event_id"])
    copies = FirstCopies(ids.repeated())
    return [copies.of(frame)["event_id"].to_list() for frame in frames], copies.dropped


def test_ids_that_came_once_all_stay() -> None:
    batches = [[f"{part}-{number}" for number in range(500)] for part in range(4)]
    assert kept(*batches) == (batches, 0)


def test_the_first_copy_stays_within_and_across_batches() -> None:
    assert kept(["a", "b", "a"], ["c", "b", "d"], ["a", "e"]) == ([["a", "b"], ["c", "d"], ["e"]], 3)


def test_a_dataset_given_twice_is_kept_once() -> None:
    once = [f"e{number}" for number in range(2_000)]
    assert kept(once, once) == ([once, []], 2_000)


def test_two_ids_with_the_same_first_hash_both_stay(monkeypatch) -> None:
    real = repeats.first_hash
    monkeypatch.setattr(repeats, "first_hash", lambda ids: real(ids) & np.uint64(3))
    ids = [f"e{number}" for number in range(300)]
    found, dropped = kept(ids[:150], ids[150:])
    assert dropped == 0
    assert found == [ids[:150], ids[150:]]


def test_no_batch_and_an_empty_batch_hold_no_repeat() -> None:
    assert kept() == ([], 0)
    assert kept([]) == ([[]], 0)
