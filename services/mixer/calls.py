"""Calling a component, behind its breaker: in place, or in a thread and within its deadline. A failure is a value."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from services.mixer.breaker import Breaker
from services.mixer.candidates import MissingColumn
from services.mixer.components import Component
from services.mixer.query import MissingFeature

logger = logging.getLogger(__name__)

# Calls of one component that may overrun their deadline and still hold a thread. With as many stuck it is not called
# again until one ends: otherwise a component that hangs would take every thread, and with them every other component.
MOST_STUCK = 2


@dataclass(frozen=True)
class Outcome:
    """What a call gave: `value`, or `failure` in words ("" when it went well), and how long it took."""

    value: Any
    failure: str
    took_ms: float

    @property
    def failed(self) -> bool:
        return bool(self.failure)


# Called after each component: pipeline, component, outcome ("ok", "error", "starved", "deadline", "circuit_open",
# "stuck"), seconds.
Observer = Callable[[str, str, str, float], None]


class _Overrun(Exception):
    """A call was cut at its deadline."""


@dataclass
class _Line:
    """What is remembered of one component of one pipeline."""

    breaker: Breaker
    overrun: list[Future] = field(default_factory=list)

    def refusal(self) -> tuple[str, str] | None:
        """Outcome and words when the component must not be called now."""
        self.overrun = [call for call in self.overrun if not call.done()]
        if len(self.overrun) >= MOST_STUCK:
            return "stuck", f"{len(self.overrun)} calls that overran their deadline are still running"
        if not self.breaker.allows():
            return "circuit_open", "circuit open after repeated failures"
        return None


class Caller:
    """Runs components, those that are not inline in `threads` threads; for one event loop. One breaker each a pipeline."""

    def __init__(self, threads: int, observer: Observer | None = None, new_breaker: Callable[[], Breaker] = Breaker) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mixer-component")
        self._observer = observer
        self._new_breaker = new_breaker
        self._lines: dict[tuple[str, str], _Line] = {}

    async def call(self, pipeline: str, component: Component, function: Callable[..., Any], *arguments: Any) -> Outcome:
        """Run `function(*arguments)`. An overrun call is cut: its thread runs on, and its late result is dropped."""
        line = self._lines.get((pipeline, component.name))
        if line is None:
            line = self._lines[pipeline, component.name] = _Line(self._new_breaker())
        if (refusal := line.refusal()) is not None:
            return self._finish(pipeline, component, None, *refusal, 0.0)
        started = time.perf_counter()
        try:
            if component.inline:
                value = function(*arguments)
            else:
                value = await self._in_thread(line, component, function, arguments)
        except _Overrun as error:
            line.breaker.failed()
            return self._finish(pipeline, component, None, "deadline", str(error), time.perf_counter() - started)
        except (MissingFeature, MissingColumn) as error:
            # Somebody before it failed: that one is named and counted. This one has shown nothing about itself, and an
            # open circuit here would go on failing requests after the other has recovered.
            return self._finish(pipeline, component, None, "starved", str(error.args[0]), time.perf_counter() - started)
        except Exception as error:  # whatever a component raises must not end the request; it is named in the response
            line.breaker.failed()
            logger.warning("%s: component %s failed", pipeline, component.name, exc_info=error)
            message = f"{type(error).__name__}: {error}"
            return self._finish(pipeline, component, None, "error", message, time.perf_counter() - started)
        line.breaker.succeeded()
        return self._finish(pipeline, component, value, "ok", "", time.perf_counter() - started)

    async def _in_thread(self, line: _Line, component: Component, function: Callable[..., Any], arguments: tuple) -> Any:
        running = self._pool.submit(function, *arguments)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(running), component.deadline_ms / 1000)
        except TimeoutError:
            if running.done() and running.exception() is not None:
                raise  # the component's own
            line.overrun.append(running)
            raise _Overrun(f"deadline of {component.deadline_ms:g} ms passed") from None

    def open_circuits(self) -> list[str]:
        """`pipeline/component` of every breaker that is open now."""
        return sorted(f"{pipeline}/{name}" for (pipeline, name), line in self._lines.items() if line.breaker.is_open)

    def close(self) -> None:
        """Stop taking calls; calls that overran their deadline are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finish(self, pipeline: str, component: Component, value: Any, outcome: str, failure: str, seconds: float) -> Outcome:
        if self._observer is not None:
            self._observer(pipeline, component.name, outcome, seconds)
        return Outcome(value, failure, seconds * 1000)
