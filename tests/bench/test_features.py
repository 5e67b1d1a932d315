"""The bench of hydration at a size that proves its comparison, not its figures."""

from __future__ import annotations

import pytest

from feature_repo.blocks import BLOCK_NAMES
from tests.bench.features import bench_features

pytestmark = pytest.mark.slow


def test_every_value_of_post_author_and_topic_is_compared_with_feasts(tmp_path):
    answer = bench_features(tmp_path, candidates=40, requests=5, peer_requests=3, posts=300)
    assert answer["values_compared"] == 3 * 40 * sum(len(BLOCK_NAMES[name]) for name in ("post", "author", "topic"))
    assert answer["p99_ms"] >= answer["p50_ms"] > 0
    assert answer["peer"]["requests"] == 3
    assert list(tmp_path.iterdir()) == []
