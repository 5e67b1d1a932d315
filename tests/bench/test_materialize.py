"""The bench of materialisation at a size that proves its comparison, not its figures."""

from __future__ import annotations

import pytest

from feature_repo.view_schemas import VIEW_SCHEMAS
from tests.bench.materialize import VIEWS, bench_materialize

pytestmark = pytest.mark.slow


def test_the_figure_and_its_peer_come_from_stores_that_hold_the_same_bytes(tmp_path):
    keys = 30
    answer = bench_materialize(tmp_path, rows=2 * keys * len(VIEWS), peer_rows=keys * len(VIEWS))
    assert answer["values_compared"] == keys * sum(len(VIEW_SCHEMAS[view].features) for view in VIEWS)
    assert answer["rows_per_s"] > 0
    assert answer["peer"]["rows_per_s"] > 0
    assert answer["peer"]["rows"] == keys * len(VIEWS)
    assert list(tmp_path.iterdir()) == []
