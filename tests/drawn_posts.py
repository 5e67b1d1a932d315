"""A snapshot of seeded draws with the real columns, users to rank it for, and untrained bundles that take both."""

from __future__ import annotations

import numpy as np
import torch

from feature_repo.aggregates.ranking_state import SUMS
from feature_repo.blocks import BLOCK_NAMES, EMPTY_STATE, States, post_block
from feature_repo.feature_rows import BLOCKS, HEADS
from feature_repo.history import UNDATED_AT
from feature_repo.online import StoredUser
from feature_repo.profiles import POST_PROFILE, USER_PROFILE
from feature_repo.request_rows import candidate_rows
from feature_repo.snapshot import Snapshot
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import Calibration
from services.ranking.ensemble import INPUTS, Ensemble
from services.ranking.heavy import HeavyConfig
from services.ranking.light import LightRanker
from services.ranking.members import built
from services.ranking.normalise import Normaliser
from services.ranking.trees import Trees, tree_features
from services.ranking.two_tower import TwoTower, TwoTowerConfig

AS_OF_US = 1_651_400_000_000_000
DAY_US = 86_400_000_000


def drawn_states(n: int, random: np.random.Generator) -> States:
    """States of a few exposures each within two days before AS_OF_US; every fifth key was never seen."""
    states = States.empty(n)
    seen = np.arange(n) % 5 > 0
    states.state[seen, :SUMS] = random.gamma(0.7, 3.0, (int(seen.sum()), SUMS))
    ages = slice(SUMS, None)
    states.state[seen, ages] = np.where(EMPTY_STATE[:, ages] < 0, random.exponential(20_000, (int(seen.sum()), 1)), 2.0)
    states.updated_at[seen] = AS_OF_US - random.integers(0, 2 * DAY_US, int(seen.sum()))
    return states


def drawn_snapshot(posts: int = 60, seed: int = 1, first_id: int = 100) -> Snapshot:
    """Posts `first_id`, + 10, ...; three an author, eleven topics (every seventh post has none)."""
    random = np.random.default_rng(seed)
    author, topic = np.arange(posts) // 3, np.arange(posts) % 7 - 1
    states = {
        "post": drawn_states(posts, random),
        "author": drawn_states(posts // 3 + 1, random).take(author),
        "topic": drawn_states(6, random).take(topic),
    }
    created_at_us = AS_OF_US - random.integers(0, 3 * DAY_US, posts)
    profile = random.random((posts, len(POST_PROFILE)), np.float32)
    return Snapshot(
        version=f"{AS_OF_US}-20220501T101320000000",
        as_of_us=AS_OF_US,
        post_id=first_id + 10 * np.arange(posts),
        author_id=70 * first_id + author,
        topic=topic.astype(np.int32),
        created_at_us=created_at_us,
        media=np.zeros(posts, np.int16),
        popularity=random.random(posts, np.float32),
        profile=profile,
        states=states,
        blocks={
            "post": post_block(states["post"], profile, created_at_us, AS_OF_US),
            "author": states["author"].derive(AS_OF_US),
            "topic": states["topic"].derive(AS_OF_US),
        },
    )


def stored_user(user_id: int = 5, seed: int = 2, exposures: int = 20, snapshot: Snapshot | None = None) -> StoredUser:
    """A user who met some of the snapshot's posts in the last hours before AS_OF_US."""
    random = np.random.default_rng(seed)
    snapshot = snapshot or drawn_snapshot()
    row = random.integers(0, len(snapshot), exposures)
    at_us = np.sort(AS_OF_US - random.integers(0, 20_000_000_000, exposures))
    at_us[:2] = UNDATED_AT
    columns = (snapshot.post_id[row], snapshot.author_id[row], snapshot.topic[row], random.integers(0, 8, exposures))
    dwell = np.where(at_us == UNDATED_AT, 0, random.integers(0, 600, exposures))
    packed = np.stack([*columns, np.zeros(exposures, np.int64), dwell, at_us], axis=1).reshape(-1)
    state = drawn_states(2, random).state[1]
    return StoredUser(user_id, state.tolist(), int(at_us[-1]), [1.0] * len(USER_PROFILE), packed.tolist())


def drawn_bundle(snapshot: Snapshot, seed: int = 3, *, ensemble: bool = False, members: int = 1) -> ModelBundle:
    """A bundle of seeded draws, large enough that every path shows; `ensemble` stacks small trees on two heads."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    rows = candidate_rows(stored_user().at(AS_OF_US), snapshot, np.arange(len(snapshot)), "for_you", AS_OF_US)
    normaliser = Normaliser.fit({name: rows.blocks[name] for name in BLOCKS})
    light = LightRanker.zeros(normaliser.widths)
    drawn = {name: random.normal(0, 0.1, len(weights)).astype(np.float32) for name, weights in light.blocks.items()}
    heavy = built(HeavyConfig(normaliser.widths), members)
    with torch.no_grad():
        for parameter in heavy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return ModelBundle(
        heavy=heavy,
        light=LightRanker(drawn, light.product, -1.0),
        two_tower=TwoTower(TwoTowerConfig(normaliser.widths)),
        normaliser=normaliser,
        calibration=Calibration.identity(len(HEADS)),
        names=dict(BLOCK_NAMES),
        ensemble=_ensemble(rows, random) if ensemble else None,
    )


def _ensemble(rows, random: np.random.Generator) -> Ensemble:
    import lightgbm as lgb

    asked = tree_features(rows, ())
    options = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 2, "verbose": -1, "seed": 1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(asked, random.integers(0, 2, len(rows))), num_boost_round=5)
    weights = np.zeros((len(HEADS), len(INPUTS)), np.float32)
    weights[:, 0] = 1.0
    weights[:2] = [[0.6, 0.5, 0.1, -0.2], [0.3, 0.8, -0.1, 0.1]]
    return Ensemble(Trees({"click": booster}, np.linspace(0.1, 0.4, len(HEADS), dtype=np.float32)), weights)
