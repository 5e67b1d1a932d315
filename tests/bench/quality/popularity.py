"""Peer: a post's smoothed rate of each action over the training days, the same for everybody."""

from __future__ import annotations

from pathlib import Path

from feature_repo.feature_rows import FeatureRows
from flows.training import baselines
from tests.bench.quality.measured_heads import Predict, measured


def fit(train: FeatureRows, seed: int, threads: int, folder: Path) -> dict[str, Predict]:
    """Nothing is drawn: every seed gives the same."""
    return {"popularity": measured(lambda rows: baselines.popularity(train, rows))}
