"""Keeps a small sample of the aggregates that requests were ranked with, so that they can be computed again and compared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from feature_repo.aggregates.ranking_state import DERIVED_NAMES, Key
from feature_repo.feature_rows import FeatureRows
from feature_repo.recomputation.served_vectors import ServedVector, ServedVectorLog
from feature_repo.snapshot import ENTITIES, Snapshot
from services.mixer.components import Component
from services.mixer.engine import Result

POSTS_SAMPLED = 5  # of a page: the first, the last, and some between
# A side effect may start late. The vectors were read at least this long before it ends, and what was saved less than this
# long before is taken for in flight.
DELAY_US = 5_000_000


class ServedVectorSampler(Component):
    """Logs the vectors of at most one ranked request in `every_s` seconds. It runs after the response is on its way."""

    name = "served_vectors"
    deadline_ms = 1_000.0

    def __init__(self, log: ServedVectorLog, release: str, every_s: float) -> None:
        self._log = log
        self._release = release
        self._every_s = every_s
        self._next = 0.0
        self._one_at_a_time = threading.Lock()

    def run(self, result: Result) -> None:
        page = result.page
        if "rows" not in page.columns or not len(page) or not self._due():
            return
        ended_us = time.time_ns() // 1_000
        chosen = np.unique(np.linspace(0, len(page) - 1, POSTS_SAMPLED).astype(int))
        rows: FeatureRows = page["rows"].take(chosen)
        vectors = [*_user_vector(result, rows, ended_us), *_candidate_vectors(result, rows, page["snapshot_row"][chosen])]
        with self._one_at_a_time:
            self._log.append(result.query.request_id, self._release, vectors)

    def _due(self) -> bool:
        now = time.monotonic()
        with self._one_at_a_time:
            if now < self._next:
                return False
            self._next = now + self._every_s
            return True


def _user_vector(result: Result, rows: FeatureRows, ended_us: int) -> Iterator[ServedVector]:
    query = result.query
    yield ServedVector(
        family=Key.USER.value,
        key=query.user_id,
        values=_aggregates(rows, Key.USER)[0],
        now_us=query["context"].moment_us,
        updated_at_us=query["user"].updated_at_us,
        read_at_us=ended_us - round(result.took_ms * 1_000) - DELAY_US,
        as_of_us=None,
    )


def _candidate_vectors(result: Result, rows: FeatureRows, snapshot_rows: np.ndarray) -> Iterator[ServedVector]:
    """Post, author and topic of each row, each key once."""
    snapshot = result.query.corpus.snapshot
    taken_at_us = _taken_at_us(snapshot)
    for name in ENTITIES:
        values, keys = _aggregates(rows, Key(name)), getattr(rows, Key(name).column)
        _, first = np.unique(keys, return_index=True)
        for row in first:
            if name == Key.TOPIC and keys[row] < 0:
                continue  # a post without a topic has no topic's aggregates
            at = snapshot_rows[row]
            updated_at_us = int(snapshot.states[name].updated_at[at])
            # Of a key that came after the snapshot nothing was read: no event at all was before its moment.
            unread = at >= snapshot.published and updated_at_us == 0
            yield ServedVector(
                family=name,
                key=int(keys[row]),
                values=values[row],
                now_us=result.query["context"].posts_moment_us,
                updated_at_us=updated_at_us,
                read_at_us=taken_at_us,
                as_of_us=0 if unread else snapshot.as_of_us,
            )


def _aggregates(rows: FeatureRows, key: Key) -> np.ndarray:
    """The columns of a block that are derived from aggregates, float32 (n, len(DERIVED_NAMES)); profiles come after them."""
    return np.ascontiguousarray(rows.blocks[key.value][:, : len(DERIVED_NAMES)], np.float32)


def _taken_at_us(snapshot: Snapshot) -> int:
    """When the states of a snapshot were gathered, by the wall clock: its version says it."""
    stamp = snapshot.version.rpartition("-")[2]
    return round(datetime.strptime(stamp, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC).timestamp() * 1e6)
