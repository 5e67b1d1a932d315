"""World-like events in bulk: millions a second, for measuring engines. Simulated, and cheaper than the world itself.

Popularity, hours and the mix of actions look like the world's; who likes what has no cause. Nothing learned from these
events means anything: they are there to be counted.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.contracts import Action
from feature_repo.datasets.world.config import TOPICS
from feature_repo.datasets.world.contract_tables import PRODUCT
from feature_repo.datasets.world.day_curve import DAY_US, time_of_day_us
from infra.storage import replace_atomically

EPOCH = date(1970, 1, 1)
SECOND_US = 1_000_000
POSITIONS = 20
CIRCLE = 40
CIRCLE_SHARE = 0.8  # exposures to posts of the user's own circle
AUTHOR_SKEW = 2.0
POSTS_PER_AUTHOR = 10

# Chance of each action at an exposure, and after how many seconds at most it follows.
CHANCES: dict[Action, tuple[float, float]] = {
    Action.DWELL: (0.80, 60.0),
    Action.VIDEO_VIEW: (0.25, 60.0),
    Action.CLICK: (0.22, 20.0),
    Action.LIKE: (0.09, 40.0),
    Action.PROFILE_CLICK: (0.03, 40.0),
    Action.REPLY: (0.02, 300.0),
    Action.SHARE: (0.015, 120.0),
    Action.REPOST: (0.015, 120.0),
    Action.BOOKMARK: (0.01, 120.0),
    Action.FOLLOW: (0.01, 120.0),
    Action.NOT_INTERESTED: (0.006, 30.0),
    Action.QUOTE: (0.004, 300.0),
    Action.MUTE: (0.001, 60.0),
    Action.BLOCK: (0.001, 60.0),
    Action.REPORT: (0.0005, 60.0),
}
EVENTS_PER_EXPOSURE = 1.0 + sum(chance for chance, _ in CHANCES.values())
TIMED = (Action.DWELL, Action.VIDEO_VIEW)  # their value is the milliseconds watched

ACTION_NAMES = pl.Enum([action.value for action in Action])


@dataclass(frozen=True)
class BulkWorld:
    """`events` events, to within a few, over `days` UTC days from `start`; accounts and posts grow with them."""

    events: int
    days: int = 8
    start: date = date(2025, 3, 3)
    seed: int = 7

    def __post_init__(self) -> None:
        if self.events < 1_000 or self.days < 1:
            raise ValueError(f"BulkWorld needs at least 1000 events and 1 day, got {self.events} and {self.days}")

    @property
    def users(self) -> int:
        return max(100, self.events // 200)

    @property
    def authors(self) -> int:
        return max(20, self.events // 1_000)

    @property
    def posts(self) -> int:
        return self.authors * POSTS_PER_AUTHOR

    @property
    def start_us(self) -> int:
        return (self.start - EPOCH).days * DAY_US

    @property
    def end_us(self) -> int:
        """The first microsecond after the last day."""
        return self.start_us + self.days * DAY_US


def write_bulk_events(
    world: BulkWorld,
    folder: Path,
    part_events: int = 1_000_000,
    threads: int = 2,
    tell: Callable[[int], None] = lambda rows: None,
) -> list[Path]:
    """Write `part-<number>.parquet` files with the columns of `event_log.read_events`, each a slice of time and in its order.

    The files follow from `world` and `part_events` alone. `tell` hears how many rows each finished part has.
    """
    parts = max(1, round(world.events / part_events))
    files = [folder / f"part-{number:05d}.parquet" for number in range(parts)]

    def write(number: int) -> int:
        rows = bulk_events(world, number, parts)
        with replace_atomically(files[number]) as temporary:
            rows.write_parquet(temporary, compression="lz4", statistics=False)
        return rows.height

    with ThreadPoolExecutor(threads) as pool:
        for rows in pool.map(write, range(parts)):
            tell(rows)
    return files


def bulk_events(world: BulkWorld, part: int, parts: int) -> pl.DataFrame:
    """Events of exposures in slice `part` of `parts` of the world's time, oldest first; columns of `event_log.read_events`."""
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence([world.seed, part])))
    exposures = _exposures(world, draws, part, parts)
    size = exposures.height
    dwell_ms = np.exp(draws.normal(8.0, 1.2, size))
    pieces = [_happened(exposures, Action.IMPRESSION, np.arange(size), np.zeros(size, np.int64), None)]
    for action, (chance, within_s) in CHANCES.items():
        rows = np.flatnonzero(draws.random(size, np.float32) < chance)
        delay = (draws.random(len(rows)) * within_s * SECOND_US).astype(np.int64)
        pieces.append(_happened(exposures, action, rows, delay, dwell_ms[rows] if action in TIMED else None))
    events = pl.concat(pieces).sort("at")
    return events.with_columns(
        event_id=_named(f"bulk-{part}-", pl.int_range(pl.len(), dtype=pl.Int32)),
        request_id=_named(f"bulk-{part}-", pl.col("request_id")),
        product=pl.lit(PRODUCT),
        action=pl.col("action").cast(pl.String),
    )


def _exposures(world: BulkWorld, draws: np.random.Generator, part: int, parts: int) -> pl.DataFrame:
    size = round(world.events / parts / EVENTS_PER_EXPOSURE)
    through = (part + np.sort(draws.random(size))) / parts * world.days  # days since the start, growing
    day = np.minimum(through.astype(np.int64), world.days - 1)
    user = _zipf(draws.random(size), world.users, 1.7)
    author = np.where(
        draws.random(size, np.float32) < CIRCLE_SHARE, _of_circle(world, draws, user), _author(world, draws, size)
    )
    post = author + world.authors * _zipf(draws.random(size), POSTS_PER_AUTHOR, 2.0)
    return pl.DataFrame(
        {
            "user_id": user,
            "post_id": post,
            "author_id": author,
            "topic": topic_of(post),
            "position": (np.arange(size) % POSITIONS).astype(np.int32),
            "request_id": (np.arange(size) // POSITIONS).astype(np.int32),
            "at": world.start_us + day * DAY_US + time_of_day_us(through - day),
        }
    )


def _of_circle(world: BulkWorld, draws: np.random.Generator, user: np.ndarray) -> np.ndarray:
    """An author that the user keeps coming back to: each user has CIRCLE of them, some far dearer than others."""
    friend = _zipf(draws.random(len(user)), CIRCLE, 2.0)
    return _zipf(_hashed(user * CIRCLE + friend), world.authors, AUTHOR_SKEW)


def _author(world: BulkWorld, draws: np.random.Generator, size: int) -> np.ndarray:
    """Any author, by popularity."""
    return _zipf(draws.random(size), world.authors, AUTHOR_SKEW)


def _happened(
    exposures: pl.DataFrame, action: Action, rows: np.ndarray, delay: np.ndarray, value: np.ndarray | None
) -> pl.DataFrame:
    return exposures[rows].with_columns(
        at=pl.col("at") + pl.Series(delay),
        action=pl.lit(action.value, ACTION_NAMES),
        value=pl.lit(None, pl.Float64) if value is None else pl.Series(value),
    )


def _named(prefix: str, number: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit(prefix), number.cast(pl.String))


def _zipf(uniform: np.ndarray, size: int, skew: float) -> np.ndarray:
    """Ranks in [0, size), int64: rank r is drawn with a chance that falls as r^(1/skew - 1)."""
    return (uniform**skew * size).astype(np.int64)


def _hashed(ids: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each id, float64: always the same one (Fibonacci hashing)."""
    return ((ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)) / 2.0**53


def topic_of(post_id: np.ndarray) -> np.ndarray:
    """First topic of each post, int32; -1, none, for one in ten."""
    topic = _zipf(_hashed(post_id), TOPICS, 1.5).astype(np.int32)
    return np.where(post_id % 10 == 3, np.int32(-1), topic)
