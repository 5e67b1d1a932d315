"""The actions that the bench measures, and probabilities cut down to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows

# KuaiRand calls them click, long_view, like and profile_enter; of the others, two days hold too few to tell models apart.
MEASURED = ("click", "video_view", "like", "profile_click")
PLACES = [HEADS.index(head) for head in MEASURED]

# Probabilities of the measured actions, float32 (n, len(MEASURED)), of n rows; a row's is the same whatever else is asked.
Predict = Callable[[FeatureRows], np.ndarray]


def measured(predict: Callable[[FeatureRows], np.ndarray]) -> Predict:
    """A prediction of all HEADS, cut down to MEASURED."""
    return lambda rows: np.ascontiguousarray(predict(rows)[:, PLACES], dtype=np.float32)


def measured_labels(rows: FeatureRows) -> np.ndarray:
    """uint8 (n, len(MEASURED))."""
    return rows.labels[:, PLACES]
