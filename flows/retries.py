"""How the flaky edges are retried: files, databases and servers, never the pure steps in between."""

from __future__ import annotations

from typing import Any

from prefect.tasks import exponential_backoff

# Three more tries after 2, 4 and 8 seconds, jittered so that two flows do not knock at the same moment.
FLAKY_EDGE: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.3,
}
