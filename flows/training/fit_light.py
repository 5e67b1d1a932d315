"""Fit the light ranker: which candidates of a slate the heavy ranker would choose, by logistic regression on the blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from feature_repo.feature_rows import MODEL_BLOCKS, FeatureRows
from feature_repo.heads import POSITIVE, places
from flows.training.catalogue import Catalogue
from services.ranking.calibration import sigmoid
from services.ranking.inputs import PRODUCT_ROWS, known_surfaces, product_rows
from services.ranking.light import LightRanker
from services.ranking.normalise import Normaliser

PENALTY = 1e-4  # per row, on the squared weights
ITERATIONS = 60
SLATES, SLATE_CANDIDATES = 300, 300  # what it learns from
CHOSEN_SHARE = 0.1  # of a slate: what the heavy ranker puts first

ENGAGEMENTS = places(POSITIVE)  # what counts as engagement


def engaged(labels: np.ndarray) -> np.ndarray:
    """float32 (n,): 1 where any positive action followed. `labels` is (n, len(HEADS))."""
    return labels[:, ENGAGEMENTS].any(axis=1).astype(np.float32)


def fit_light(
    heavy_score: Callable[[FeatureRows], np.ndarray],
    rows: FeatureRows,
    normaliser: Normaliser,
    extend: Callable[[FeatureRows], FeatureRows] = lambda slate: slate,
    *,
    seed: int,
    count: int | None = None,
) -> LightRanker:
    """Learn to keep what the heavy ranker puts first.

    It learns from `count` slates, SLATES by default. `heavy_score` gives the score (n,) that a request ranks a slate by.
    Users and moments are drawn from `rows`, candidates from all posts of `rows`: the exposures themselves are what another
    recommender had chosen already, and a cut must tell the good from the merely shown. `extend` adds the blocks that no slate
    has by itself.
    """
    slates = [extend(slate) for slate in Catalogue.newest(rows).slates(rows, count or SLATES, SLATE_CANDIDATES, seed)]
    scores = [heavy_score(slate) for slate in slates]
    chosen = np.concatenate([score >= np.quantile(score, 1 - CHOSEN_SHARE) for score in scores])
    names = [name for name in MODEL_BLOCKS if name in rows.blocks]
    blocks = {name: np.concatenate([normaliser.apply(name, slate.blocks[name]) for slate in slates]) for name in names}
    return fit_logistic(blocks, np.concatenate([slate.product for slate in slates]), chosen.astype(np.float32))


def fit_logistic(blocks: dict[str, np.ndarray], product: np.ndarray, target: np.ndarray) -> LightRanker:
    """L2-regularised, by L-BFGS: normalised `blocks` (n, width), surface codes (n,), `target` float32 (n,) in [0, 1]."""
    from scipy.optimize import minimize

    surfaces = known_surfaces(product)
    product = product_rows(product, surfaces)

    names = [name for name in MODEL_BLOCKS if name in blocks]
    dense = np.concatenate([blocks[name] for name in names], axis=1)
    n, width = dense.shape

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weights, by_product, intercept = theta[:width].astype(np.float32), theta[width:-1], theta[-1]
        logits = dense @ weights + by_product[product].astype(np.float32) + np.float32(intercept)
        loss = np.mean(np.logaddexp(0.0, logits) - target * logits, dtype=np.float64)
        error = (sigmoid(logits) - target) / np.float32(n)
        gradient = np.empty_like(theta)
        gradient[:width] = error @ dense
        gradient[width:-1] = np.bincount(product, weights=error, minlength=PRODUCT_ROWS)
        gradient[-1] = error.sum(dtype=np.float64)
        gradient[:-1] += PENALTY * theta[:-1]
        return float(loss + 0.5 * PENALTY * np.square(theta[:-1]).sum()), gradient

    start = np.zeros(width + PRODUCT_ROWS + 1)
    rate = float(np.clip(target.mean(), 1e-4, 1 - 1e-4))
    start[-1] = np.log(rate / (1 - rate))
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x.astype(np.float32)
    ends = np.cumsum([blocks[name].shape[1] for name in names])[:-1]
    parts = np.split(theta[:width], ends)
    return LightRanker(dict(zip(names, parts, strict=True)), theta[width:-1].copy(), float(theta[-1]), surfaces)
