"""What several fault tests need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_broker import LocalBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker of the test's own, which it may end and start again."""
    broker = LocalBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.end()
