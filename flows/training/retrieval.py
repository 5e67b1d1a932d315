"""How well the two towers fetch: whether the posts that people engaged with are among the nearest of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from feature_repo.feature_rows import FeatureRows
from flows.training.catalogue import Catalogue
from flows.training.fit_light import engaged
from services.ranking.bundle import ModelBundle
from services.ranking.inputs import history_tensors

DEPTHS = (50, 200, 500)
SAMPLE = 4_000  # engagements; each is ranked against every post


def recall(
    bundle: ModelBundle, train: FeatureRows, rows: FeatureRows, *, seed: int, depths: Sequence[int] = DEPTHS
) -> dict[str, dict[str, float]] | None:
    """Share of engaged posts of `rows` found within each depth of all posts of `train`: by the towers, and by popularity.

    Both rank the same catalogue for the same engagements; popularity is the number of engagements in `train`. None where no
    post that training knew was engaged with, as in a catalogue that turns over every day.
    """
    catalogue = Catalogue.newest(train)
    chosen = _engagements(rows, catalogue, seed)
    if len(chosen) == 0:
        return None
    target = np.searchsorted(catalogue.post_id, rows.post_id[chosen])
    scores = _user_vectors(bundle, rows.take(chosen)) @ bundle.post_vectors(catalogue).T
    popular = np.bincount(
        np.searchsorted(catalogue.post_id, train.post_id), weights=engaged(train.labels), minlength=len(catalogue.post_id)
    )
    ranks = {
        "two_tower": (scores > scores[np.arange(len(chosen)), target][:, None]).sum(1),
        "popularity": (popular[None, :] > popular[target][:, None]).sum(1),
    }
    return {name: {f"recall_at_{depth}": float((rank < depth).mean()) for depth in depths} for name, rank in ranks.items()}


def _engagements(rows: FeatureRows, catalogue: Catalogue, seed: int) -> np.ndarray:
    known = np.isin(rows.post_id, catalogue.post_id)
    found = np.flatnonzero((engaged(rows.labels) > 0) & known)
    if len(found) <= SAMPLE:
        return found
    return np.sort(np.random.default_rng(seed).choice(found, SAMPLE, replace=False))


def _user_vectors(bundle: ModelBundle, rows: FeatureRows) -> np.ndarray:
    """User vectors as of each row, float32 (n, d)."""
    tower = bundle.two_tower
    with torch.inference_mode():
        block = torch.from_numpy(bundle.normaliser.apply("user", rows.blocks["user"]))
        return tower.users(block, history_tensors(rows.history, tower.config.bits)).numpy()
