"""How often the canary's judge is right: whole simulated rollouts over the default ramp, beside other judges' rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from flows.steps.progress import announce
from monitoring.canary.policy import JudgePolicy
from services.releases.states import CANARY_STEPS
from tests.bench.canary_peers import PEERS
from tests.bench.canary_rollouts import End, OurJudge, Streams
from tests.bench.canary_streams import SCENARIOS, People, Scenario

SIMULATED = 30_000  # people that are drawn; more users are Poisson-many copies of them
USERS = (30_000, 1_000_000)
OURS = "ours"
FOUND = 0.95
LOSSES = tuple(round(0.005 * k, 3) for k in range(2, 41))  # engagement losses among which the detectable one is sought

Answers = dict[str, End]


def bench_judge(
    rollouts: int, seed: int, users: Sequence[int] = USERS, processes: int | None = None, drawn: int = SIMULATED
) -> dict[str, Any]:
    """Rates over `rollouts` simulated rollouts of each scenario, at each number of active users.

    false_rollback, promoted_aa, promoted_good, missed, median_users, median_hours and detectable are by number of users; a rate
    is a mapping with `rate` and its 95 % Wilson interval. A rollout is missed when a bad release was put to people as good.
    drawn: people that are simulated one by one.
    """
    one_thread = (threadpool_limits, (1,))  # each: a second one of the array libraries would spin beside the other process
    with ProcessPoolExecutor(processes or os.cpu_count(), get_context("spawn"), *one_thread) as pool:
        by_size = {size: _at_size(_Runs(pool, rollouts, seed, size, drawn)) for size in users}
    keys = ("false_rollback", "promoted_aa", "missed", "median_users", "median_hours", "detectable", "detectable_told")
    return {
        "rollouts": rollouts,
        "ramp": list(CANARY_STEPS),
        "users": "; ".join(
            f"{size:,}: {min(size, drawn):,} people drawn" + (f", Poisson({size / drawn:.3g}) copies of each" * (size > drawn))
            for size in users
        ),
        **{key: {str(size): one[key] for size, one in by_size.items()} for key in keys},
        "scenarios": {str(size): one["scenarios"] for size, one in by_size.items()},
        "peers": {name: {str(size): one["peers"][name] for size, one in by_size.items()} for name in PEERS},
    }


@dataclass(frozen=True)
class _Runs:
    """How the rollouts at one number of users are run."""

    pool: ProcessPoolExecutor
    rollouts: int
    seed: int
    size: int
    drawn: int

    def of(self, scenario: Scenario, peers: tuple[str, ...]) -> list[Answers]:
        """Every rollout of a scenario."""
        jobs = [(scenario, self.seed + k, self.size, peers, self.drawn) for k in range(self.rollouts)]
        ends = []
        for done, answers in enumerate(self.pool.map(one_rollout, *zip(*jobs, strict=True), chunksize=5), 1):
            ends.append(answers)
            if done % 10 == 0 or done == self.rollouts:
                announce(f"judge: {self.size:,} users, {scenario.name}: {done:,} of {self.rollouts:,} rollouts")
        return ends


def _at_size(runs: _Runs) -> dict[str, Any]:
    ends = {scenario: runs.of(scenario, tuple(PEERS)) for scenario in SCENARIOS}
    figures = {judge: _figures({s: [one[judge] for one in rows] for s, rows in ends.items()}) for judge in (OURS, *PEERS)}
    ours = [one[OURS] for one in ends[SCENARIOS[0]]]
    return {
        **figures[OURS],
        "detectable": _detectable(runs),
        "detectable_told": round(float(np.median([end.detectable for end in ours])), 4),
        "peers": {name: figures[name] for name in PEERS},
    }


def _figures(ends: dict[Scenario, list[End]]) -> dict[str, Any]:
    """One judge's rates, and its table by scenario."""
    aa = ends[SCENARIOS[0]]
    return {
        "false_rollback": wilson(sum(end.how == "rolled back" for end in aa), len(aa)),
        "promoted_aa": wilson(sum(end.how == "asked" for end in aa), len(aa)),
        "missed": {s.name: wilson(sum(end.how == "asked" for end in rows), len(rows)) for s, rows in ends.items() if s.bad},
        "median_users": {s.name: round(float(np.median([end.users for end in rows]))) for s, rows in ends.items()},
        "median_hours": {s.name: round(float(np.median([end.hours for end in rows])), 2) for s, rows in ends.items()},
        "scenarios": {s.name: _table(rows) for s, rows in ends.items()},
    }


def _table(rows: list[End]) -> dict[str, Any]:
    table = {how.replace(" ", "_"): sum(end.how == how for end in rows) for how in ("asked", "rolled back", "given up")}
    by = [name for end in rows for name in end.by]
    if by:
        table["by"] = ", ".join(f"{name} {by.count(name)}" for name in sorted(set(by)))
    return table


def _detectable(runs: _Runs) -> float | None:
    """By simulation: the smallest engagement loss of LOSSES that was kept from people 95 times of 100; None beyond them.

    Bisection: people and moments are the same at every loss, so a greater loss is found at least as often.
    """
    low, high = 0, len(LOSSES)
    while low < high:
        middle = (low + high) // 2
        loss = Scenario(f"engagement -{100 * LOSSES[middle]:g} %", engagement=1 - LOSSES[middle])
        if np.mean([one[OURS].how != "asked" for one in runs.of(loss, ())]) >= FOUND:
            high = middle
        else:
            low = middle + 1
    return LOSSES[low] if low < len(LOSSES) else None


def one_rollout(scenario: Scenario, seed: int, size: int, peers: tuple[str, ...], drawn: int = SIMULATED) -> Answers:
    """How one rollout ends under each judge, all on the same streams."""
    people = People(min(size, drawn), max(size / drawn, 1.0), tuple(step / 100 for step in CANARY_STEPS), seed)
    streams = Streams(people, scenario)
    return {OURS: OurJudge(people, JudgePolicy.default()).run(streams), **{name: PEERS[name](streams) for name in peers}}


def wilson(hits: int, tries: int, z: float = 1.96) -> dict[str, float]:
    """A rate with its 95 % Wilson score interval."""
    rate = hits / tries
    centre, spread = rate + z**2 / (2 * tries), z * np.sqrt(rate * (1 - rate) / tries + z**2 / (4 * tries**2))
    low, high = ((centre + side * spread) / (1 + z**2 / tries) for side in (-1, 1))
    return {"rate": round(rate, 4), "low": round(max(float(low), 0.0), 4), "high": round(min(float(high), 1.0), 4)}
