"""The simulated world as a dataset: the default where no other is found, and the input of tests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import timedelta

from feature_repo.contracts import split_events
from feature_repo.datasets.adapter import ContractTables, Splits
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.simulation import World

# Bumped when the same configuration would give another world.
WORLD_VERSION = 1

LEAST_DAYS = 5  # one to learn from, two to replay, two for the canary


class WorldAdapter:
    """The last two days are the canary's, the two before are replayed, the rest is for training."""

    name = "world"
    label = "world (simulated)"
    simulated = True
    day_offset = timedelta(0)

    def __init__(self, seed: int = 7, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig(seed=seed)
        if self.config.days < LEAST_DAYS:
            raise ValueError(f"WorldConfig.days is {self.config.days}; the splits need at least {LEAST_DAYS}")
        days = [self.config.start + timedelta(days=day) for day in range(self.config.days)]
        self.splits = Splits(train_end=days[-5], replay=(days[-4], days[-3]), canary=(days[-2], days[-1]))

    def fingerprint(self) -> str:
        """Hash of the configuration and of the simulator's version, 16 hex digits."""
        content = json.dumps({"version": WORLD_VERSION, **asdict(self.config)}, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def tables(self) -> ContractTables:
        """The world's whole log, its posts, accounts and declared graph; nothing of it is malformed."""
        world = World(self.config)
        split = split_events(world.history_events())
        return ContractTables(
            events=split.good, posts=world.posts(), users=world.users(), malformed=split.dead, edges=world.edges()
        )
