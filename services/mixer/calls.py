"""Calling a component: in a worker thread, within its deadline, behind its breaker; a failure is a value, not an exception."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from services.mixer.breaker import Breaker
from services.mixer.components import Component

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a call gave: `value`, or `failure` in words ("" when it went well), and how long it took."""

    value: Any
    failure: str
    took_ms: float

    @property
    def failed(self) -> bool:
        return bool(self.failure)


# Called after each component: pipeline, component, outcome ("ok", "error", "deadline", "circuit_open"), seconds.
Observer = Callable[[str, str, str, float], None]


class Caller:
    """Runs components in `threads` worker threads. One breaker a component name and pipeline."""

    def __init__(self, threads: int, observer: Observer | None = None, new_breaker: Callable[[], Breaker] = Breaker) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mixer-component")
        self._observer = observer
        self._new_breaker = new_breaker
        self._breakers: dict[tuple[str, str], Breaker] = {}

    async def call(self, pipeline: str, component: Component, function: Callable[..., Any], *arguments: Any) -> Outcome:
        """Run `function(*arguments)`. An overrun call is cut: its thread runs on, and its late result is dropped."""
        breaker = self._breakers.setdefault((pipeline, component.name), self._new_breaker())
        if not breaker.allows():
            return self._finish(pipeline, component, None, "circuit_open", "circuit open after repeated failures", 0.0)
        started = time.perf_counter()
        running = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        try:
            value = await asyncio.wait_for(running, component.deadline_ms / 1000)
        except TimeoutError:
            breaker.failed()
            message = f"deadline of {component.deadline_ms:g} ms passed"
            return self._finish(pipeline, component, None, "deadline", message, time.perf_counter() - started)
        except Exception as error:  # whatever a component raises must not end the request; it is named in the response
            breaker.failed()
            logger.warning("%s: component %s failed", pipeline, component.name, exc_info=error)
            message = f"{type(error).__name__}: {error}"
            return self._finish(pipeline, component, None, "error", message, time.perf_counter() - started)
        breaker.succeeded()
        return self._finish(pipeline, component, value, "ok", "", time.perf_counter() - started)

    def open_circuits(self) -> list[str]:
        """`pipeline/component` of every breaker that is open now."""
        return sorted(f"{pipeline}/{name}" for (pipeline, name), breaker in self._breakers.items() if breaker.is_open)

    def close(self) -> None:
        """Stop taking calls; calls that overran their deadline are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finish(self, pipeline: str, component: Component, value: Any, outcome: str, failure: str, seconds: float) -> Outcome:
        if self._observer is not None:
            self._observer(pipeline, component.name, outcome, seconds)
        return Outcome(value, failure, seconds * 1000)
