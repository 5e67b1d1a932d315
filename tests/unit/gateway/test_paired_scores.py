"""Second predictions are asked for besides people's pages, never at their expense."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.gateway.arms import Arm
from services.gateway.metrics import GatewayMetrics
from services.gateway.paired_scores import BUSY, PairedScores
from services.releases.route import Route


@pytest.mark.parametrize(("in_flight", "healthy"), [(BUSY, True), (0, False)])
def test_a_release_that_has_enough_to_do_is_asked_for_nothing_besides(in_flight, healthy):
    pairs = PairedScores(GatewayMetrics(), per_s=1_000.0)
    canary = Arm("r2", "http://127.0.0.1:1", healthy=healthy, in_flight=in_flight)
    pool = SimpleNamespace(route=Route(live="r1", canary="r2", canary_percent=50.0), arms={"r2": canary})
    pairs.copy(pool, "r1", "/for_you", b"{}", b'{"posts": []}')  # without a running loop a task could not even be made
    assert pairs.metrics.registry.get_sample_value("mixer_gateway_paired_scores_total", {"outcome": "skipped"}) == 1.0
