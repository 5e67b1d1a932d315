"""A controller over a small ledger: r1 is live, r2 is built and submitted, and processes answer as the releases they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from monitoring.canary.visits import VisitEvidence
from services.releases import controller as module
from services.releases.controller import Controller
from services.releases.plan import RolloutPlan
from tests.unit.releases.made_releases import built

HEADS = ("like", "click")


@dataclass
class Controlled:
    """`clock` is what controllers take for now, in Unix seconds."""

    url: str
    clock: float
    controller: Controller
    sick: set[str] = field(default_factory=set)  # releases whose process does not answer
    told: int = 0

    def look(self, after_s: float = 0.0) -> str | None:
        self.clock += after_s
        return self.controller.look(self.clock)

    def restart(self) -> None:
        """Another process goes on, once the lease of the former is over."""
        self.controller = Controller(self.url, f"holder {self.clock}")
        self.clock += module.LEASE_S + 1

    def states(self, release_id: str = "r2") -> list[str]:
        return [
            f"{entry.state} {entry.percent:g}" if entry.percent else str(entry.state)
            for entry in self.controller.ledger.entries_of(release_id)
        ]

    def visits(self, users: int = 210, *, harm: float = 0.0, canary: str = "r2", heads: tuple[str, ...] = HEADS) -> None:
        """So many users of the canary and their share of the live release's, one visit each, later than all before.

        The canary's loss is higher by the share `harm`.
        """
        self.told += 1
        percent = self.controller.ledger.route().canary_percent or 50
        arms = [(canary, users), ("r1", round(users * (100 - percent) / percent))]
        made = []
        for release, place in [(release, place) for release, count in arms for place in range(count)]:
            base = {head: 1 + 0.02 * (place % 7) for head in heads}
            made.append(
                VisitEvidence(
                    release_id=release,
                    user_id=self.told * 100_000 + 2 * place + (release == canary),
                    request_id=f"q{self.told}-{place}",
                    at_us=self.told * 1_000_000 + place,
                    rows=2,
                    log_loss={head: loss * (1 + harm * (release == canary)) for head, loss in base.items()},
                    reference_log_loss=base,
                    ndcg=0.8,
                    reference_ndcg=0.8,
                    latency_ms=10.0 + place % 5,
                    distinct_author_share=0.9,
                )
            )
        self.controller.evidence.add(made)


def controlled(tmp_path: Path, monkeypatch, clock: float, **plan: object) -> Controlled:
    """See the module. `plan`: fields of r2's RolloutPlan; its ramp is 25 and 50 where nothing else is said."""
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    made = Controlled(url, clock, Controller(url, "first"))
    monkeypatch.setattr(module, "why_not", lambda url, release: "it does not answer" if release in made.sick else None)
    ledger = made.controller.ledger
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    made.controller.rollouts.submit("r2", RolloutPlan(**{"ramp": (25, 50), "deciding_heads": HEADS, **plan}), "flow")
    return made
