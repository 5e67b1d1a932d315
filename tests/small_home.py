"""A small simulated platform on disk, made by the platform's own code: lake, features, snapshot, and an untrained bundle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from feature_repo.blocks import BLOCK_NAMES
from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.feature_rows import BLOCKS, HEADS
from feature_repo.feature_store import apply, build_offline, materialise
from feature_repo.lake import Lake
from feature_repo.online import OnlineFeatures
from feature_repo.request_rows import candidate_rows
from feature_repo.snapshot import build_snapshot, load_snapshot, publish
from infra.settings import Settings
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import Calibration
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.light import LightRanker
from services.ranking.normalise import Normaliser
from services.ranking.two_tower import TwoTower, TwoTowerConfig

SMALL = WorldConfig(seed=11, users=120, posts=400, days=5)


def make_home(settings: Settings, config: WorldConfig = SMALL, change: Callable[[Lake], None] = lambda lake: None) -> datetime:
    """Fill `settings.home` with a world's lake, online features and snapshot; returns the moment they are as of.

    `change` may rewrite the lakes once they are ingested.
    """
    adapter = WorldAdapter(config=config)
    lake, holdout = Lake(settings.paths.lake), Lake(settings.paths.holdout)
    ingest(adapter, lake, holdout)
    for one in (lake, holdout):
        change(one)
    as_of = adapter.splits.train_end
    apply(settings)
    build_offline(settings, [lake], as_of)
    materialise(settings, as_of)
    publish(settings, build_snapshot(settings, lake, as_of))
    return as_of


def untrained_bundle(settings: Settings, folder: Path, seed: int = 3, users: int = 20) -> Path:
    """Save a bundle whose weights are seeded draws, and whose normalisation fits the home's features."""
    torch.manual_seed(seed)
    snapshot, online = load_snapshot(settings), OnlineFeatures(settings)
    ids = Lake(settings.paths.lake).read("users")["user_id"].head(users).to_list()
    every_post, now_us = np.arange(len(snapshot)), snapshot.as_of_us
    parts = [candidate_rows(online.user(user, now_us), snapshot, every_post, "for_you", now_us) for user in ids]
    normaliser = Normaliser.fit({name: np.concatenate([part.blocks[name] for part in parts]) for name in BLOCKS})
    widths = normaliser.widths
    random = np.random.default_rng(seed)
    light = LightRanker.zeros(widths)
    light = LightRanker(
        {name: random.normal(0, 0.1, len(weights)).astype(np.float32) for name, weights in light.blocks.items()},
        light.product,
        -1.0,
    )
    bundle = ModelBundle(
        heavy=HeavyRanker(HeavyConfig(widths)),
        light=light,
        two_tower=TwoTower(TwoTowerConfig(widths)),
        normaliser=normaliser,
        calibration=Calibration.identity(len(HEADS)),
        names=dict(BLOCK_NAMES),
        details={"untrained": True, "seed": seed},
    )
    return bundle.save(folder)
