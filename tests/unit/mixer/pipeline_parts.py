"""Small real components, a query and an engine for tests of the pipeline's laws."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from services.mixer.breaker import Breaker
from services.mixer.calls import Caller
from services.mixer.candidates import Candidates
from services.mixer.components import Component, FailurePolicy
from services.mixer.engine import Engine, Result
from services.mixer.pipeline import Pipeline
from services.mixer.query import Query
from services.mixer.selectors.top_scores import TopScoresSelector


class Broken(RuntimeError):
    """What a failing component raises in these tests."""


class ListSource(Component):
    """Proposes given posts; post p is by author p % 7. With `broken`, raises."""

    def __init__(self, name: str, posts: Sequence[int], broken: bool = False) -> None:
        self.name, self._posts, self._broken = name, np.array(posts, np.int64), broken

    def fetch(self, query: Query) -> Candidates:
        if self._broken:
            raise Broken(f"{self.name} is down")
        return Candidates.proposed(self._posts, self._posts % 7)


class BlockingSource(Component):
    """Answers only when `released` is set: a source that overruns any deadline."""

    def __init__(self, name: str, deadline_ms: float, released: threading.Event) -> None:
        self.name, self.deadline_ms, self._released, self.calls = name, deadline_ms, released, 0

    def fetch(self, query: Query) -> Candidates:
        self.calls += 1
        self._released.wait(30)
        return Candidates.proposed(np.array([1]), np.array([1]))


class RuleFilter(Component):
    """Keeps the posts for which `rule` holds; with `broken`, raises."""

    def __init__(
        self, name: str, rule: Callable[[np.ndarray], np.ndarray], on_failure: FailurePolicy = "open", broken: bool = False
    ) -> None:
        self.name, self._rule, self.on_failure, self._broken = name, rule, on_failure, broken

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        if self._broken:
            raise Broken(f"{self.name} cannot tell")
        return self._rule(candidates.post_id)


class PostIdScorer(Component):
    """The larger the post id, the higher the score."""

    name = "post_id"
    writes = ("score",)

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        return {"score": candidates.post_id.astype(np.float64)}


class ConstantFeatures(Component):
    """A query hydrator that writes what it is given."""

    def __init__(self, name: str, features: Mapping[str, Any], needs: tuple[str, ...] = ()) -> None:
        self.name, self._features, self.needs, self.writes = name, features, needs, tuple(features)

    def hydrate_query(self, query: Query) -> Mapping[str, Any]:
        return self._features


class ColumnHydrator(Component):
    """A candidate hydrator that writes one column, computed from the candidates."""

    def __init__(self, name: str, column: str, compute: Callable[[Candidates], Any], reads: tuple[str, ...] = ()) -> None:
        self.name, self.writes, self.reads, self._compute = name, (column,), reads, compute

    def hydrate(self, query: Query, candidates: Candidates) -> Mapping[str, Any]:
        return {self.writes[0]: self._compute(candidates)}


class Recorder(Component):
    """A side effect that remembers the pages it was given."""

    name = "recorder"

    def __init__(self, broken: bool = False) -> None:
        self.pages: list[list[int]] = []
        self._broken = broken

    def run(self, result: Result) -> None:
        if self._broken:
            raise Broken("the log is down")
        self.pages.append(result.page.post_id.tolist())


def product(sources, steps=(), late_filters=(), query_hydrators=(), side_effects=(), selector=None) -> Pipeline:
    """A pipeline named `test` with the posts scored by their id unless `steps` say otherwise."""
    return Pipeline(
        name="test",
        query_hydrators=tuple(query_hydrators),
        sources=tuple(sources),
        steps=tuple(steps),
        selector=selector or TopScoresSelector(),
        late_filters=tuple(late_filters),
        side_effects=tuple(side_effects),
    )


def query(count: int = 5, **changes: Any) -> Query:
    """A query of user 7 against no corpus: the components above read none."""
    fields = {
        "request_id": "r-1",
        "user_id": 7,
        "product": "test",
        "surface": "for_you",
        "count": count,
        "now_us": 1_650_000_000_000_000,
        "corpus": None,
    }
    return Query(**{**fields, **changes})


def run(pipeline: Pipeline, asked: Query | None = None, *, explain: bool = False, times: int = 1, **caller: Any) -> Result:
    """Execute `times` requests on a fresh engine, wait for their side effects, and return the last result."""

    async def requests() -> Result:
        calls = Caller(threads=4, **caller)
        engine = Engine(calls)
        try:
            for _ in range(times):
                result = await engine.execute(pipeline, asked or query(), explain=explain)
            await engine.drain()
        finally:
            calls.close()
        return result

    return asyncio.run(requests())


def breaker_that_opens_after(failures: int) -> Callable[[], Breaker]:
    return lambda: Breaker(failures_to_open=failures, cool_down_s=60)
