"""A sample of the catalogue's packed cells as they stand in the online store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.families import FAMILIES, Family
from feature_repo.recomputation.arrivals import keyed_by
from feature_repo.view_schemas import PACKED, aggregates_view
from infra.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

READ_BATCH = 500  # keys an online read


@dataclass(frozen=True)
class OnlineCells:
    """n keys (a, b), int64 (n,) each, with what the store holds of them. None and -1: the store does not know the key."""

    a: np.ndarray
    b: np.ndarray
    packed: list[bytes | None]
    updated_at_us: np.ndarray  # int64 (n,), time of the newest event in the cells
    read_at_us: int  # wall clock, before the first read


def read_sample(settings: Settings, events: pl.DataFrame, keys: int, seed: int) -> dict[str, OnlineCells]:
    """Up to `keys` keys of every family that `events` (columns of `arrivals.arrived_events`) touch, as the store has them."""
    from feature_repo.feature_store import open_store

    store, found = open_store(settings), {}
    for family in FAMILIES:
        a, b = sample_keys(keyed_by(events, family), keys, seed)
        if len(a):
            found[family.name] = read_online_cells(store, family, a, b)
    return found


def sample_keys(keyed: pl.DataFrame, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to `count` different keys of events with columns a, b and at: half of them from the newest twentieth of the events,
    where the stream writes, half from all."""
    newest = keyed.top_k(max(1, keyed.height // 20), by="at")
    halves = [part.sample(min(part.height, count), seed=seed, shuffle=True) for part in (newest, keyed)]
    keys = [part.select("a", "b").unique(maintain_order=True).head(count // 2) for part in halves]
    chosen = pl.concat(keys).unique(maintain_order=True)
    return chosen["a"].to_numpy(), chosen["b"].to_numpy()


def read_online_cells(store: FeatureStore, family: Family, a: np.ndarray, b: np.ndarray) -> OnlineCells:
    """Read the packed cells of keys (a, b) through Feast."""
    read_at_us = time.time_ns() // 1_000
    view = aggregates_view(family.name)
    packed: list[bytes | None] = []
    for start in range(0, len(a), READ_BATCH):
        part = slice(start, start + READ_BATCH)
        ids = zip(a[part].tolist(), b[part].tolist(), strict=True)
        rows = [dict(zip(family.ids, key, strict=False)) for key in ids]
        answer = store.get_online_features([f"{view}:{PACKED}"], rows).to_dict()
        packed += answer[PACKED]
    newest = np.array([-1 if one is None else newest_us(one) for one in packed], np.int64)
    return OnlineCells(a, b, packed, newest, read_at_us)


def newest_us(packed: bytes) -> int:
    """Time of the newest event in packed cells, 0 where there are none."""
    return int(np.frombuffer(packed, CELL)["newest_us"].max(initial=0))
