"""Second predictions are asked for besides people's pages, never at their expense."""

from __future__ import annotations

import asyncio

import pytest

from services.gateway.metrics import GatewayMetrics
from services.gateway.paired_scores import BUSY, PairedScores
from services.releases.route import Route
from tests.unit.gateway.copied import one_arm

PAGE = b'{"posts": [{"post_id": 7}], "request_id": "q1"}'


@pytest.mark.parametrize(
    ("in_flight", "healthy", "outcome"), [(BUSY, True, "skipped"), (0, False, "skipped"), (BUSY - 1, True, "scored")]
)
def test_a_release_is_asked_besides_only_while_it_is_well_and_has_little_to_do(in_flight, healthy, outcome):
    pairs = PairedScores(GatewayMetrics(), per_s=1_000.0, _left=10.0)
    pool = one_arm(Route(live="r1", canary="r2", canary_percent=50.0), healthy=healthy, in_flight=in_flight)

    async def copied() -> None:
        pairs.copy(pool, "r1", "/for_you", b"{}", PAGE)
        await pairs.close()

    asyncio.run(copied())
    counted = {
        name: pairs.metrics.registry.get_sample_value("mixer_gateway_paired_scores_total", {"outcome": name})
        for name in ("skipped", "scored")
    }
    assert {name for name, count in counted.items() if count} == {outcome}
    assert bool(pool.session.asked) == (outcome == "scored")
