"""The simulated world as a dataset: the default where no other is found, and the input of tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import cached_property

import polars as pl

from feature_repo.contracts import SplitEvents, split_events
from feature_repo.datasets.adapter import ContractTables, whole_tables
from feature_repo.datasets.splits import Splits
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.simulation import World
from feature_repo.plausible_times import EARLIEST

# Bumped when the same configuration would give another world.
WORLD_VERSION = 1

LEAST_DAYS = 5  # one to learn from, two to replay, two for the canary


class WorldAdapter:
    """The last two days are the canary's, the two before are replayed, the rest is for training."""

    name = "world"
    label = "world (simulated)"
    place = ""
    simulated = True
    notes: tuple[str, ...] = ()
    derived_impressions = False
    distinct_ids = False
    sampled_negatives = 0
    repeats = 0
    day_offset = timedelta(0)
    earliest = EARLIEST

    def __init__(self, seed: int = 7, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig(seed=seed)
        if self.config.days < LEAST_DAYS:
            raise ValueError(f"WorldConfig.days is {self.config.days}; the splits need at least {LEAST_DAYS}")
        days = [self.config.start + timedelta(days=day) for day in range(self.config.days)]
        self.splits = Splits.of_days(days[-5], days[-4:-2], days[-2:], self.day_offset)

    def fingerprint(self) -> str:
        """Hash of the configuration and of the simulator's version, 16 hex digits."""
        content = json.dumps({"version": WORLD_VERSION, **asdict(self.config)}, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def refuse_missing(self) -> None:
        """Nothing can be missing: it is simulated."""

    def event_batches(self) -> Iterator[SplitEvents]:
        """The world's whole log in one batch; nothing of it is malformed."""
        yield split_events(self._world.history_events())

    def posts(self) -> pl.DataFrame:
        return self._world.posts()

    def users(self) -> pl.DataFrame:
        return self._world.users()

    def left_out(self) -> dict[str, pl.DataFrame]:
        """No row of them breaks a rule."""
        return {}

    def edges(self) -> pl.DataFrame:
        """The declared graph."""
        return self._world.edges()

    def tables(self) -> ContractTables:
        """The world's whole log, its posts, accounts and declared graph."""
        return whole_tables(self)

    @cached_property
    def _world(self) -> World:
        return World(self.config)
