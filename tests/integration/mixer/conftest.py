"""The real app over the real runtime, on a small world that is made once per test run."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from infra.settings import Settings
from services.intake.producer import EventProducer
from services.mixer.app import create_app
from services.mixer.runtime import MixerRuntime
from tests.free_ports import free_port
from tests.patient import patient
from tests.small_home import make_home, untrained_bundle


@pytest.fixture(scope="session")
def small_settings(tmp_path_factory) -> Settings:
    """Settings of a home with a lake, online features, a snapshot and a bundle named `untrained`; no broker listens."""
    settings = Settings(home=tmp_path_factory.mktemp("mixer-home"), threads=1, broker_port=free_port())
    make_home(settings)
    untrained_bundle(settings, settings.paths.bundles / "untrained")
    return settings


@pytest.fixture(scope="session")
def runtime(small_settings):
    """A runtime of release `r-test`. Deliveries to the absent broker fail within a second."""
    producer = EventProducer(small_settings, delivery_timeout_ms=500)
    runtime = patient(MixerRuntime(small_settings, {"release_id": "r-test", "bundle": "untrained"}, producer))
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def client(runtime):
    with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def as_of(runtime) -> str:
    """The moment of the features, for requests that must not depend on today's date."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(runtime.corpus.snapshot.as_of_us / 1e6, UTC).isoformat()
