"""The engine: takes a request through a product's components.

It owns, for every component alike, what a component must not care about: running in place or beside others, deadlines,
failure policy, funnel counts, the trace, refilling the page. Law: every candidate ends selected, removed by a named rule, or
in reserve.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.mixer.calls import Caller, Outcome
from services.mixer.candidates import Candidates, merge
from services.mixer.components import CandidateHydrator, Component, Filter, Scorer, SideEffect
from services.mixer.pipeline import Pipeline
from services.mixer.query import Query
from services.mixer.trace import StageRecord, Trace

REFILL_BLOCK = 32  # least number of reserve candidates that late filters look at in one go


@dataclass(frozen=True)
class Result:
    """A finished request: the page in order of position, how it came about, and how long it took."""

    query: Query
    page: Candidates
    trace: Trace
    took_ms: float


class Engine:
    """Runs pipelines on the caller's event loop."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._side_effects: set[asyncio.Task] = set()

    async def execute(self, pipeline: Pipeline, query: Query, *, explain: bool = False) -> Result:
        """Serve one request. Component failures end up in `trace.degraded`, never in an exception.

        explain: keep the columns after each stage, and run no side effects.
        """
        started = time.perf_counter()
        run = _Run(self._caller, pipeline, Trace(keep_columns=explain))
        query = await run.hydrate_query(query)
        candidates = await run.fetch(query)
        for group in pipeline.step_groups:
            candidates = await run.step(group, query, candidates)
        ranked = await run.select(query, candidates)
        page = await run.fill_page(query, ranked)
        run.trace.check()
        result = Result(query, page, run.trace, (time.perf_counter() - started) * 1000)
        if not explain:
            self._start_side_effects(pipeline, result)
        return result

    async def drain(self) -> None:
        """Wait for side effects that are still running."""
        await asyncio.gather(*self._side_effects)

    def _start_side_effects(self, pipeline: Pipeline, result: Result) -> None:
        for effect in pipeline.side_effects:
            task = asyncio.create_task(self._side_effect(pipeline, effect, result))
            self._side_effects.add(task)
            task.add_done_callback(self._side_effects.discard)

    async def _side_effect(self, pipeline: Pipeline, effect: SideEffect, result: Result) -> None:
        await self._caller.call(pipeline.name, effect, effect.run, result)


@dataclass
class _Run:
    """One request's way through one pipeline."""

    caller: Caller
    pipeline: Pipeline
    trace: Trace

    async def hydrate_query(self, query: Query) -> Query:
        for wave in self.pipeline.query_waves:
            outcomes = await _all(self._call(h, _hydrate_query, h, query) for h in wave)
            for hydrator, outcome in zip(wave, outcomes, strict=True):
                self._record(hydrator, 0, 0, outcome)
                if not outcome.failed:
                    query = query.with_features(outcome.value)
        return query

    async def fetch(self, query: Query) -> Candidates:
        sources = self.pipeline.sources
        outcomes = await _all(self._call(source, source.fetch, query) for source in sources)
        proposals = []
        for source, outcome in zip(sources, outcomes, strict=True):
            proposed = outcome.value if not outcome.failed else Candidates.proposed(np.empty(0), np.empty(0))
            self._record(source, 0, len(proposed), outcome)
            proposals.append((source.name, proposed))
        merged = merge(proposals)
        self.trace.begin(merged)
        if self.trace.keep_columns:
            self.trace.snapshots.append(("sources", merged))
        return merged

    async def step(self, group: tuple[Component, ...], query: Query, candidates: Candidates) -> Candidates:
        """One filter, one scorer, or one wave of hydrators; with nothing left, nothing is called."""
        if not len(candidates):
            for component in group:
                self._record(component, 0, 0, Outcome({}, "", 0.0))
            return candidates
        kind = self.pipeline.kinds[group[0].name]
        if kind == "filter":
            return await self._filter(group[0], query, candidates)
        if kind == "scorer":
            return await self._add_columns(group, _score, query, candidates)
        return await self._add_columns(group, _hydrate, query, candidates)

    async def select(self, query: Query, candidates: Candidates) -> Candidates:
        """Candidates in the selector's order; what it leaves out is removed under its name. It fails open to score order."""
        selector = self.pipeline.selector
        outcome = await self._call(selector, _select, selector, query, candidates)
        order = outcome.value if not outcome.failed else np.argsort(-candidates["score"], kind="stable")
        left_out = np.ones(len(candidates), bool)
        left_out[order] = False
        if left_out.any():
            self.trace.remove(candidates.take(left_out), selector.name)
        ranked = candidates.take(order)
        self._record(selector, len(candidates), len(ranked), outcome, ranked)
        return ranked

    async def fill_page(self, query: Query, ranked: Candidates) -> Candidates:
        """The first `count` candidates that pass the late filters, refilled from the reserve in rank order."""
        if not self.pipeline.late_filters:
            page, reserve = _split(ranked, query.count)
        else:
            page, reserve = await self._late_page(query, ranked)
        self.trace.select(page)
        self.trace.reserve(reserve)
        return page

    async def _late_page(self, query: Query, ranked: Candidates) -> tuple[Candidates, Candidates]:
        rank_of = np.empty(len(self.trace.fates), np.int64)
        rank_of[ranked["ordinal"]] = np.arange(len(ranked))
        page, reserve = np.empty(0, np.int64), np.arange(len(ranked))  # ranks
        while len(page) < query.count and len(reserve):
            block = max(query.count - len(page), REFILL_BLOCK)
            trial, failed_closed = ranked.take(np.concatenate([page, reserve[:block]])), False
            for late in self.pipeline.late_filters:
                trial = await self._filter(late, query, trial)
                failed_closed |= late.on_failure == "closed" and bool(self.trace.stages[-1].failure)
            passed = rank_of[trial["ordinal"]]
            page, reserve = passed[: query.count], np.concatenate([passed[query.count :], reserve[block:]])
            if failed_closed:
                break  # asking a failing check again for every block would only cost its deadline every time
        return ranked.take(page), ranked.take(reserve)

    async def _filter(self, rule: Filter, query: Query, candidates: Candidates) -> Candidates:
        outcome = await self._call(rule, _keep, rule, query, candidates)
        keep = outcome.value if not outcome.failed else np.full(len(candidates), rule.on_failure == "open")
        kept = candidates if keep.all() else candidates.take(keep)
        if len(kept) < len(candidates):
            self.trace.remove(candidates.take(~keep), rule.name)
        self._record(rule, len(candidates), len(kept), outcome)
        return kept

    async def _add_columns(self, group: tuple[Component, ...], run, query: Query, candidates: Candidates) -> Candidates:
        outcomes = await _all(self._call(c, run, c, query, candidates) for c in group)
        size = len(candidates)
        for component, outcome in zip(group, outcomes, strict=True):
            if not outcome.failed:
                candidates = candidates.with_columns(outcome.value)
            elif component.on_failure == "closed" and len(candidates):
                self.trace.remove(candidates, component.name)
                candidates = candidates.take(np.empty(0, np.int64))
                size = 0
            self._record(component, size, len(candidates), outcome, candidates)
            if not len(candidates):
                break
        return candidates

    async def _call(self, component: Component, function, *arguments) -> Outcome:
        return await self.caller.call(self.pipeline.name, component, function, *arguments)

    def _record(
        self, component: Component, before: int, after: int, outcome: Outcome, candidates: Candidates | None = None
    ) -> None:
        kind = self.pipeline.kinds[component.name]
        self.trace.record(StageRecord(component.name, kind, before, after, outcome.took_ms, outcome.failure), candidates)


async def _all(calls: Iterable[Coroutine[Any, Any, Outcome]]) -> list[Outcome]:
    """The outcomes of calls that run beside one another. One alone needs no task of its own."""
    calls = list(calls)
    return [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)


def _hydrate_query(hydrator, query: Query):
    features = hydrator.hydrate_query(query)
    return _declared(hydrator, features)


def _hydrate(hydrator: CandidateHydrator, query: Query, candidates: Candidates):
    return _declared(hydrator, hydrator.hydrate(query, candidates), rows=len(candidates))


def _score(scorer: Scorer, query: Query, candidates: Candidates):
    return _declared(scorer, scorer.score(query, candidates), rows=len(candidates))


def _keep(rule: Filter, query: Query, candidates: Candidates) -> np.ndarray:
    keep = np.asarray(rule.keep(query, candidates))
    if keep.shape != (len(candidates),) or keep.dtype != bool:
        raise ValueError(f"{rule.name} answered {keep.dtype} {keep.shape}; asked for bool ({len(candidates)},)")
    return keep


def _select(selector, query: Query, candidates: Candidates) -> np.ndarray:
    order = np.asarray(selector.select(query, candidates), np.int64)
    if len(np.unique(order)) != len(order) or np.any((order < 0) | (order >= len(candidates))):
        raise ValueError(f"{selector.name} answered rows that repeat or lie outside 0..{len(candidates) - 1}")
    return order


def _declared(component: Component, written, rows: int | None = None):
    """`written`, if it is exactly what the component declares and every column has `rows` rows."""
    if set(written) != set(component.writes):
        raise ValueError(f"{component.name} wrote {sorted(written)}; it declares {sorted(component.writes)}")
    for name, column in written.items():
        if rows is not None and len(column) != rows:
            raise ValueError(f"{component.name} wrote {len(column)} rows of {name!r} for {rows} candidates")
    return written


def _split(candidates: Candidates, count: int) -> tuple[Candidates, Candidates]:
    rows = np.arange(len(candidates))
    return candidates.take(rows[:count]), candidates.take(rows[count:])
