"""Exposures where the files have none: derived from interactions, with sampled posts beside them that were not interacted with.

Derived: the first interaction of a user with a post in a session (the request of the files, else events less than half an hour
apart) is also its impression, at the same moment. Sampled: beside each of those, posts drawn from the newest interactions
before it, so popular posts are drawn more often and no post is drawn before it existed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq

from feature_repo.contracts import DERIVED, EVENTS, SAMPLED
from feature_repo.datasets.own.actions import IMPRESSION

SESSION_GAP_MINUTES = 30
WINDOW_ROWS = 200_000  # newest exposures from which posts are drawn
WINDOW_DAYS = 7
BATCH_ROWS = 250_000
MEMORY = "768MB"  # of DuckDB; more goes to disk

_KEPT = ("user_id", "post_id", "author_id", "product", "request_id", "occurred_at")
_SCHEMA = dict(pl.from_arrow(EVENTS.empty_table()).schema)


class Interactions:
    """Mapped events on disk until all are known; a context manager that removes them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="own-events-")
        self.file = Path(self._folder.name) / "interactions.parquet"
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Interactions:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._folder.cleanup()

    def add(self, events: pl.DataFrame) -> None:
        """Keep events of one batch."""
        table = events.select(_KEPT).to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.file, table.schema, compression="lz4")
        self._writer.write_table(table.cast(self._writer.schema))

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def exposures(self) -> Iterator[pl.DataFrame]:
        """Derived exposures, oldest first, in the columns kept and `session` (text)."""
        self._close()
        if not self.file.exists():
            return
        with duckdb.connect() as connection:
            connection.execute(
                f"SET memory_limit = '{MEMORY}'; SET temp_directory = '{self._folder.name}'; SET TimeZone = 'UTC'"
            )
            for arrow in connection.sql(_EXPOSURES.format(file=self.file, gap=SESSION_GAP_MINUTES)).to_arrow_reader(BATCH_ROWS):
                yield pl.from_arrow(arrow).with_columns(pl.col("occurred_at").cast(pl.Datetime("us", "UTC")))

    def pairs(self) -> np.ndarray:
        """Sorted hashes of all (user, post) that had an interaction, uint64 (n,)."""
        self._close()
        if not self.file.exists():
            return np.empty(0, np.uint64)
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = '{self._folder.name}'")
            relation = connection.sql(f"SELECT user_id, post_id FROM read_parquet('{self.file}')")
            parts = [pair_hashes(*pl.from_arrow(arrow).get_columns()) for arrow in relation.to_arrow_reader(1_000_000)]
        hashes = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        hashes.sort()
        return hashes


_EXPOSURES = """
WITH marked AS (
    SELECT *, lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at) AS before FROM read_parquet('{file}')
), numbered AS (
    SELECT *, sum(CASE WHEN before IS NULL OR occurred_at - before > INTERVAL {gap} MINUTE THEN 1 ELSE 0 END)
        OVER (PARTITION BY user_id ORDER BY occurred_at) AS visit FROM marked
), placed AS (
    -- A request_id that comes back after a pause names another visit: one impression could not be answered for days.
    SELECT *, dense_rank() OVER (PARTITION BY user_id, request_id ORDER BY visit) AS nth FROM numbered
), named AS (
    SELECT *, CASE WHEN request_id IS NULL THEN 'visit-' || user_id || '-' || visit WHEN nth = 1 THEN request_id
        ELSE request_id || '-' || nth END AS session FROM placed
)
SELECT user_id, post_id, first(author_id ORDER BY occurred_at, product, author_id) AS author_id,
    first(product ORDER BY occurred_at, product, author_id) AS product, session, min(occurred_at) AS occurred_at
FROM named GROUP BY user_id, post_id, session ORDER BY occurred_at, user_id, post_id, session
"""


def pair_hashes(users: pl.Series, posts: pl.Series) -> np.ndarray:
    """uint64 (n,): one hash per (user, post); equal within one process only."""
    return pl.select(pl.struct(users.alias("user"), posts.alias("post")).hash(11)).to_series().to_numpy()


def derived_events(exposures: pl.DataFrame) -> pl.DataFrame:
    """The exposures as impression events of the contract."""
    return _as_events(exposures, DERIVED)


def _as_events(rows: pl.DataFrame, begin: str) -> pl.DataFrame:
    at = pl.col("occurred_at").dt.epoch("us")
    made = pl.concat_str(pl.lit(begin), "user_id", pl.lit("-"), "post_id", pl.lit("-"), at, pl.lit("-"), "session")
    events = rows.with_columns(event_id=made, action=pl.lit(IMPRESSION), request_id=pl.col("session"))
    missing = [pl.lit(None, kind).alias(name) for name, kind in _SCHEMA.items() if name not in events.columns]
    return events.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


class NegativeSampler:
    """Draws posts beside each exposure; feed it exposures in order of time. Equal seeds and exposures give equal draws."""

    def __init__(self, per_exposure: int, seed: int, interacted: np.ndarray) -> None:
        self.per_exposure = per_exposure
        self._draws = np.random.Generator(np.random.Philox(key=seed))
        self._interacted = interacted  # sorted hashes of (user, post)
        self._window = pl.DataFrame(schema={"post_id": pl.Int64, "author_id": pl.Int64, "at": pl.Int64})

    def beside(self, exposures: pl.DataFrame) -> pl.DataFrame:
        """Impression events of posts that the user never interacted with; fewer than asked for where few posts were known."""
        rows = exposures.select("post_id", "author_id", pl.col("occurred_at").dt.epoch("us").alias("at"))
        known = pl.concat([self._window, rows])
        held, count = self._window.height, exposures.height
        at = known["at"].to_numpy()
        own = np.arange(held, held + count)
        last = np.searchsorted(at, at[own], side="left")  # rows at the same moment are not yet known
        first = np.maximum(np.searchsorted(at, at[own] - WINDOW_DAYS * 86_400_000_000), np.maximum(0, own - WINDOW_ROWS))
        first = np.minimum(first, np.maximum(last - 1, 0))
        drawn = first[:, None] + (self._draws.random((count, self.per_exposure)) * (last - first)[:, None]).astype(np.int64)
        beside = np.repeat(np.arange(count), self.per_exposure)
        usable = np.repeat(last > first, self.per_exposure)
        chosen = known[drawn.ravel()[usable]].select("post_id", "author_id")
        rest = exposures.select("user_id", "product", "session", "occurred_at")[beside[usable]]
        sampled = pl.concat([rest, chosen], how="horizontal").unique(
            ["user_id", "post_id", "session"], keep="first", maintain_order=True
        )
        self._window = known.tail(WINDOW_ROWS)
        hashes = pair_hashes(sampled["user_id"], sampled["post_id"])
        places = np.minimum(np.searchsorted(self._interacted, hashes), max(len(self._interacted) - 1, 0))
        met = self._interacted[places] == hashes if len(self._interacted) else np.zeros(len(hashes), bool)
        return _as_events(sampled.filter(pl.Series(~met)), SAMPLED)
