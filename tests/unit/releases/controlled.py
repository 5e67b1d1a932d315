"""A controller over a small ledger: r1 is live, r2 is built and submitted, and processes answer as the releases they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from monitoring.canary.policy import JudgePolicy
from services.releases import controller as module
from services.releases.controller import Controller
from services.releases.judging import Judging
from services.releases.plan import RolloutPlan
from tests.outcome_rows import add_outcomes
from tests.unit.releases.made_releases import built

# Each look of a test stands for one of an evening, and its users are a handful.
PLAN = {"ramp": (25, 50), "look_every_s": 1e-6, "warm_up_s": 0, "wait_s": 0}


@dataclass
class Controlled:
    """`clock` is what controllers take for now, in Unix seconds."""

    url: str
    clock: float
    controller: Controller
    sick: set[str] = field(default_factory=set)  # releases whose process does not answer
    met: int = 0  # users so far

    def look(self, after_s: float = 0.0) -> str | None:
        self.clock += after_s + 0.001
        return self.controller.look(self.clock)

    def restart(self) -> None:
        """Another process goes on, once the lease of the former is over."""
        self.controller = opened(self.url, f"holder {self.clock}")
        self.clock += module.LEASE_S + 1

    def states(self, release_id: str = "r2") -> list[str]:
        return [
            f"{entry.state} {entry.percent:g}" if entry.percent else str(entry.state)
            for entry in self.controller.ledger.entries_of(release_id)
        ]

    def visits(self, users: int = 210, *, harm: float = 0.0, canary: str = "r2") -> None:
        """So many users of the canary, and their share of the live release's; nobody whom an earlier call had."""
        step = self.controller.steps(canary)[-1]
        percent = step.percent or 50.0
        live = round(users * (100 - percent) / percent)
        add_outcomes(self.url, canary, "r1", step.seq, {canary: users, "r1": live}, first=self.met, harm=harm)
        self.met += 2 * max(users, live)


def opened(url: str, holder: str) -> Controller:
    """A controller of that name, by the default policy; outcomes are in the same database."""
    return Controller(url, holder, Judging(url, url, JudgePolicy.default()))


def controlled(tmp_path: Path, monkeypatch, clock: float, **plan: object) -> Controlled:
    """See the module. `plan`: fields of r2's RolloutPlan, beside those of PLAN."""
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    made = Controlled(url, clock, opened(url, "first"))
    monkeypatch.setattr(module, "why_not", lambda url, release: "it does not answer" if release in made.sick else None)
    ledger = made.controller.ledger
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    made.controller.rollouts.submit("r2", RolloutPlan(**{**PLAN, **plan}), "flow")
    return made
