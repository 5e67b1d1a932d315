"""The features flow on a running platform: it starts the stream worker where none could work yet, and pauses one that works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from feature_repo.aggregates.stream_seeded import is_seeded
from feature_repo.datasets.world.config import WorldConfig
from flows import stream
from flows.steps.platform import Platform
from infra import processes
from infra.settings import Settings
from tests.free_ports import free_range
from tests.small_home import make_home

pytestmark = pytest.mark.slow  # a real broker and stream workers

WORKER = "stream-worker"
STARTED_WITHIN_S = 60.0


@pytest.fixture
def platform(tmp_path, monkeypatch) -> Iterator[Platform]:
    first = free_range(2)
    settings = Settings(home=tmp_path / "home", broker_port=first, gateway_port=first + 1)
    monkeypatch.setattr(stream, "get_settings", lambda: settings)
    monkeypatch.setattr("flows.steps.lakes.get_settings", lambda: settings, raising=False)
    platform = Platform(settings)
    try:
        yield platform
    finally:
        platform.stop()


def test_the_worker_comes_with_the_first_features_and_makes_room_for_the_next(platform):
    as_of = make_home(platform.settings, WorldConfig(seed=11, users=40, posts=120, days=5))
    platform.start(processes.broker(platform.settings))
    platform.start_serving()
    assert platform.supervisor.find(WORKER) is None  # there is nothing to work on
    first = worked(platform, as_of)
    second = worked(platform, as_of)
    assert second != first


def test_a_platform_that_a_tour_left_without_the_workers_state_gets_it(platform):
    said: list[str] = []
    platform.seed_where_needed(said.append)
    assert not said  # no features, so nothing to seed from
    make_home(platform.settings, WorldConfig(seed=11, users=40, posts=120, days=5))
    assert not is_seeded(platform.settings)
    platform.seed_where_needed(said.append)
    platform.seed_where_needed(said.append)
    assert said == ["seeding the stream worker's state"]
    assert is_seeded(platform.settings)


def worked(platform: Platform, as_of: datetime) -> int:
    """Run the flow's task; the number of the worker's process, once it has told how far it is."""
    progress = platform.settings.paths.stream / "progress.json"
    progress.unlink(missing_ok=True)
    stream.seed_stream.fn(as_of)
    deadline = time.monotonic() + STARTED_WITHIN_S
    while not progress.exists():
        running = platform.supervisor.find(WORKER)
        assert running is not None, platform.supervisor.log_tail(WORKER)
        assert time.monotonic() < deadline, platform.supervisor.log_tail(WORKER)
        time.sleep(0.1)
    return platform.supervisor.find(WORKER).pid
