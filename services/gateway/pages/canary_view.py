"""A release's canary as pages show it: its steps, the judge's newest word, and how the intervals narrowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitoring.canary.verdict import Verdict, verdict_in
from services.gateway.door import Door
from services.gateway.pages.charts import Cone, cone, interval_bar
from services.releases.chain import LedgerEntry
from services.releases.rollouts import RolloutRow
from services.releases.route import Route
from services.releases.states import ReleaseState


@dataclass(frozen=True)
class CanaryView:
    """A release's canary as the page shows it. `verdict` is the judge's newest look."""

    release_id: str
    against: str | None
    state: ReleaseState
    percent: float | None
    verdict: Verdict | None
    bars: list[tuple[Any, Any]]  # (MetricResult, IntervalBar | None)
    cones: list[tuple[str, Cone]]
    looks: int
    ended: LedgerEntry | None
    steps: list[LedgerEntry]
    ramp: list[tuple[float, str]]  # each step's per cent of users, and whether it is done, now, or waiting
    rollout: RolloutRow | None


def canary_view(door: Door, release_id: str, entries: list[LedgerEntry], route: Route) -> CanaryView:
    """The canary of `release_id`, which was one; entries: the whole ledger. Blocks on the database."""
    own = [entry for entry in entries if entry.release_id == release_id]
    steps = [entry for entry in own if entry.state is ReleaseState.CANARY]
    ends = (ReleaseState.LIVE, ReleaseState.ROLLED_BACK)
    ended = next((entry for entry in own if entry.state in ends and entry.seq > steps[0].seq), None)
    looks = [Verdict.from_dict(look) for look in door.looks.all(release_id)] or [
        found for entry in own if (found := verdict_in(entry.evidence)) is not None
    ]
    verdict = looks[-1] if looks else None
    decisive = [metric for metric in verdict.metrics if metric.role == "decides"] if verdict else []
    cones = [(metric.label, drawn) for metric in decisive if (drawn := cone(looks, metric.name)) is not None]
    rollout = door.rollouts.find(release_id)
    before = [entry.release_id for entry in entries if entry.state is ReleaseState.LIVE and entry.seq < steps[0].seq]
    return CanaryView(
        release_id=release_id,
        against=before[-1] if before else None,
        state=own[-1].state,
        percent=route.canary_percent if route.canary == release_id else None,
        verdict=verdict,
        bars=[(metric, interval_bar(metric)) for metric in verdict.metrics] if verdict else [],
        cones=cones,
        looks=len(looks),
        ended=ended,
        steps=steps,
        ramp=_ramp(rollout, steps, own[-1].state),
        rollout=rollout,
    )


def _ramp(rollout: RolloutRow | None, steps: list[LedgerEntry], state: ReleaseState) -> list[tuple[float, str]]:
    """The steps of the plan; one that a person chose beside it is among them."""
    reached = steps[-1].percent or 0.0
    planned = {*(rollout.plan.ramp if rollout else ()), *(step.percent or 0.0 for step in steps)}
    now = "now" if state is ReleaseState.CANARY else "done"
    return [(step, "done" if step < reached else now if step == reached else "waiting") for step in sorted(planned)]
