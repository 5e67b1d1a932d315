"""How much of everything a tour takes: so that it fits the time that a person has, whatever the size of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.demo.traffic.visits import SLICE_HOURS
from flows.training.limits import TrainingLimits


@dataclass(frozen=True)
class Plan:
    """One kind of tour. Limits of None mean all of the data, as a scheduled flow would take it."""

    name: str
    takes: str  # in words, on two cores
    train: TrainingLimits | None  # the first release, which the first page waits for
    retrain: TrainingLimits | None  # the challenger
    replay_visits: int | None = None  # that are replayed, about, of users drawn by a hash; None = the settings' share of users
    replay_events: int | None = None  # that are sent: a dense log is replayed for hours instead of days
    canary_events: int | None = None  # of the canary days, that both canaries may take; more would take too long for a tour
    drift_rows: int | None = None  # exposures that drift is judged on, of users drawn by a hash
    slice_hours: int = SLICE_HOURS  # of the replay; fewer slices wait less often for their events to be applied
    until: str | None = None  # the stage to end after, where the command names none

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Parameters of the deployments that the tour's automations start."""
        return {} if self.retrain is None else {"retrain": {"limits": self.retrain.model_dump()}}


TOUR = Plan(
    "tour",
    "about 10 minutes, the first timeline after 3,",
    train=TrainingLimits(seconds=25, judged_rows=6_000, epochs=1, members=1, teacher_share=0, ensemble=False, slates=40),
    retrain=TrainingLimits(seconds=38, epochs=1, members=1, teacher_share=0, ensemble=False, slates=40),
    replay_visits=1_000,
    replay_events=100_000,
    canary_events=200_000,
    drift_rows=20_000,
    slice_hours=8,
)
QUICK = Plan(
    "quick",
    "about 3 minutes to a timeline, and there it ends,",
    train=TrainingLimits(
        seconds=10, judged_rows=6_000, epochs=1, members=1, teacher_share=0, ensemble=False, slates=30, baselines=False
    ),
    retrain=TrainingLimits(seconds=15, epochs=1, members=1, teacher_share=0, ensemble=False, slates=30),
    replay_visits=400,
    replay_events=100_000,
    canary_events=200_000,
    drift_rows=15_000,
    slice_hours=12,
    until="release",
)
FULL = Plan("full", "as long as two trainings on all of the data take, and about 6 minutes more", train=None, retrain=None)
PLANS = {plan.name: plan for plan in (TOUR, QUICK, FULL)}
