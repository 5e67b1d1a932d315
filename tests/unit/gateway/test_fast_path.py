"""The fast path counts the rollbacks that it did itself."""

from __future__ import annotations

import asyncio

import pytest

from services.gateway.arms import ArmPool
from services.gateway.fast_path import FastPath
from services.gateway.inquest import FastPathPolicy, Heard
from services.gateway.metrics import GatewayMetrics
from services.releases.ledger import Ledger
from tests.unit.gateway.copied import OneAnswer
from tests.unit.releases.made_releases import built


@pytest.mark.parametrize(("before", "counted"), [(False, 1.0), (True, None)])
def test_a_rollback_that_somebody_else_did_is_not_counted_as_its_own(tmp_path, before, counted):
    ledger, metrics = Ledger(f"sqlite:///{tmp_path / 'platform.db'}"), GatewayMetrics()
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "canary", "flow", "try it", percent=25)
    pool = ArmPool(ledger, metrics, _session=OneAnswer(b'{"posts": [{"post_id": 1, "score": 0.5}]}'))
    fast_path = FastPath(pool, ledger, metrics)

    async def hear_failures() -> None:
        await pool.refresh()
        if before:
            ledger.transition("r2", "rolled_back", "Ada", "it is broken")
        heard = {"r1": Heard(None, 0.01), "r2": Heard("error 500", 0.01)}
        for user in range(FastPathPolicy().least_pairs):
            fast_path.answered(str(user), "/for_you", b"{}", {}, heard)
            await fast_path.close()

    asyncio.run(hear_failures())
    assert ledger.state("r2") == "rolled_back"
    assert metrics.registry.get_sample_value("mixer_gateway_fast_path_rollbacks_total", {"release": "r2"}) == counted
