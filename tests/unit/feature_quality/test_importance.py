"""Importance goes to the feature that tells the label, and not to noise."""

from __future__ import annotations

import numpy as np

from feature_repo.feature_rows import HEADS
from monitoring.feature_quality.importance import gains


def test_the_feature_that_tells_the_label_earns_most():
    random = np.random.default_rng(4)
    features = random.normal(size=(600, 5)).astype(np.float32)
    features[::7, 3] = np.nan
    labels = np.zeros((600, len(HEADS)), np.uint8)
    labels[:, HEADS.index("click")] = features[:, 2] + 0.3 * random.normal(size=600) > 0
    found = gains(features, labels, seed=1, threads=1)
    assert found.argmax() == 2
    assert found[2] > 0.6
    np.testing.assert_allclose(found.sum(), 1.0)
    np.testing.assert_array_equal(found, gains(features, labels, seed=1, threads=1))


def test_labels_that_never_differ_teach_nothing():
    features = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    assert gains(features, np.zeros((100, len(HEADS)), np.uint8), seed=1, threads=1).tolist() == [0, 0, 0]
