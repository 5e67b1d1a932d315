"""How much of what the heavy ranker would put first survives the light ranker's cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from feature_repo.feature_rows import FeatureRows
from flows.training.catalogue import Catalogue
from flows.training.fit_light import engaged
from services.ranking.bundle import ModelBundle
from services.ranking.weights import weighted_score

BEST = 50  # candidates that the heavy ranker puts first
CUTS = (50, 100, 200, 400, 800)
REQUESTS = 150
CANDIDATES = 1_500


def survival(
    bundle: ModelBundle, train: FeatureRows, rows: FeatureRows, *, seed: int, requests: int | None = None
) -> dict[str, Any]:
    """Mean share of the heavy ranker's best that are among the first candidates by the light ranker, at each size of the cut.

    Users and moments of `requests` slates, REQUESTS by default, are drawn from `rows`, candidates from the posts of `train`.
    Keys: requests, candidates, best, and survivors: "light ranker" and "popularity" -> cut -> share; cuts of no fewer than the
    candidates are left out.
    """
    catalogue = Catalogue.newest(train)
    shown = np.bincount(
        np.searchsorted(catalogue.post_id, train.post_id), weights=engaged(train.labels), minlength=len(catalogue)
    )
    orders: dict[str, Callable[[FeatureRows], np.ndarray]] = {
        "light ranker": bundle.light_score,
        "popularity": lambda slate: shown[np.searchsorted(catalogue.post_id, slate.post_id)],
    }
    slates = catalogue.slates(rows, requests or REQUESTS, CANDIDATES, seed)
    cuts = [cut for cut in CUTS if cut < len(slates[0])]
    best = min(BEST, len(slates[0]))
    kept: dict[str, list[list[float]]] = {name: [] for name in orders}
    for slate in slates:
        wanted = np.argsort(-weighted_score(bundle.predict(slate)), kind="stable")[:best]
        for name, score in orders.items():
            order = np.argsort(-score(slate), kind="stable")
            kept[name].append([float(np.isin(wanted, order[:cut]).mean()) for cut in cuts])
    survivors = {
        name: dict(zip(map(str, cuts), np.mean(shares, axis=0).tolist(), strict=True)) for name, shares in kept.items()
    }
    return {"requests": len(slates), "candidates": len(slates[0]), "best": best, "survivors": survivors}
