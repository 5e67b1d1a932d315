"""Seeded frames in the form a drift check reads: features of several shapes, a calibrated score and its label."""

from __future__ import annotations

import numpy as np
import polars as pl


def drift_rows(seed: int, n: int = 4000, *, users: int | None = None) -> pl.DataFrame:
    """n rows of 24 features (normal, Pareto counts without a mean square, log-normal, binary, half missing) and one head."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {} if users is None else {"user_id": rng.integers(0, users, n)}
    for i in range(6):
        columns[f"user.normal_{i}"] = rng.normal(size=n)
        columns[f"post.pareto_count_{i}"] = np.floor(rng.pareto(1.1, n))
        columns[f"author.log_normal_{i}"] = rng.lognormal(0, 2.5, n)
    for i in range(3):
        columns[f"context.binary_{i}"] = (rng.random(n) < 0.05).astype(float)
        columns[f"topic.sparse_{i}"] = np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n))
    score = 1 / (1 + np.exp(-rng.normal(-0.5, 1.2, n)))
    columns["prediction_click"] = score
    columns["label_click"] = (rng.random(n) < score).astype(float)
    return pl.DataFrame(columns)
