"""Peer: logistic regression on the normalised dense features and the product."""

from __future__ import annotations

from pathlib import Path

from feature_repo.feature_rows import FeatureRows
from flows.training import baselines
from tests.bench.quality.measured_heads import Predict, measured


def fit(train: FeatureRows, seed: int, threads: int, folder: Path) -> dict[str, Predict]:
    """Nothing is drawn: every seed gives the same."""
    return {"logistic regression": measured(baselines.fit_logistic_regression(train))}
