"""How fast the stream engine is: its state alone beside Bytewax, broker to online store, and event to feature."""

from __future__ import annotations

from pathlib import Path

from feature_repo.datasets.world.event_bulk import BulkWorld
from tests.bench.broker_to_online import bench_broker_to_online
from tests.bench.feature_latency import bench_feature_latency
from tests.bench.state_update import BATCH, bench_state_update


def bench_stream(
    folder: Path, events: int = 2_000_000, seed: int = 7, *, events_per_s: float = 20_000, seconds: float = 20, rounds: int = 5
) -> dict:
    """All three parts on simulated events, one after the other; what they write is under `folder` and removed in the end.

    events: of the first part and of the second. events_per_s, seconds: what the third part offers, and for how long. rounds:
    timed micro-batches of the first part.

    Keys: events_per_s (state update), peer (Bytewax; see `bench_state_update`), p50_ms and p99_ms (event to feature), and each
    part's own: state_update's keys, broker_to_online, event_to_feature.
    """
    world = BulkWorld(events, seed=seed)
    batch = min(BATCH, events // (2 * rounds))
    update = bench_state_update(world, rounds, batch=batch)
    online = bench_broker_to_online(folder, world)
    offered = BulkWorld(max(events, round(events_per_s * seconds * 2)), seed=seed)
    latency = bench_feature_latency(folder, offered, events_per_s, seconds)
    return {
        **update,
        "p50_ms": latency["p50_ms"],
        "p99_ms": latency["p99_ms"],
        "broker_to_online": online,
        "event_to_feature": latency,
    }
