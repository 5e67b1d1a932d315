"""How the flaky edges are retried: files, databases and servers, never the pure steps in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

Condition = Callable[[Any, Any, Any], bool]

# A cache key would hash every input, and inputs here are whole tables and arrays.
PURE_STEP: dict[str, Any] = {"cache_policy": NO_CACHE}

# Three more tries after 2, 4 and 8 seconds, jittered so that two flows do not knock at the same moment.
FLAKY_EDGE: dict[str, Any] = {
    **PURE_STEP,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.3,
}


def unless(*refusals: type[Exception]) -> Condition:
    """A `retry_condition_fn`: whether a failed task may succeed on another try. Not where it raised one of `refusals`."""

    def may_succeed(_task: Any, _run: Any, state: Any) -> bool:
        return not isinstance(state.result(raise_on_failure=False), refusals)

    return may_succeed
