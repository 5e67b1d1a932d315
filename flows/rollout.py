"""A release's way: build, start, readiness, canary steps under the judge, approval, live, or rolled back.

Every step first looks at the ledger and does only what is still missing, so a rollout that was killed goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name
from feature_repo.service_names import RANKING
from flows.progress import announce
from flows.training.registered_versions import bundle_of, data_fingerprint, recorded_deciding_heads, version_of
from flows.training.registry import CHAMPION, MODEL_NAME, set_alias
from infra.settings import Settings
from monitoring.canary.evidence import EvidenceStore
from monitoring.canary.judge import JudgePolicy, Verdict, judge
from services.ranking.weights import DEFAULT_PRESET
from services.releases.approvals import Approval, Approvals
from services.releases.chain import LedgerEntry
from services.releases.ledger import Ledger
from services.releases.manifest import ReleaseManifest
from services.releases.processes import Arms
from services.releases.states import ReleaseState

DEFAULT_RAMP = (1, 5, 25, 50)  # per cent of users at each canary step
POLL_S = 1.0  # how often evidence and approvals are looked at
ACTOR = "flow:release"
ENDED = (ReleaseState.RETIRED, ReleaseState.ROLLED_BACK)


@dataclass(frozen=True)
class RolloutPolicy:
    """How a canary is taken through its steps."""

    ramp: tuple[int, ...] = DEFAULT_RAMP
    judge: JudgePolicy = JudgePolicy()
    step_timeout_s: float = 6 * 3600.0  # without a verdict by then the canary is given up as inconclusive

    @classmethod
    def of(
        cls, ramp: list[int] | None, step_timeout_s: float, min_users: int | None, deciding: tuple[str, ...] = ()
    ) -> RolloutPolicy:
        """From a flow's parameters; raises ValueError for steps that are not rising percentages.

        deciding: the heads whose log loss decides, none where the live bundle's record says which.
        """
        steps = tuple(ramp or DEFAULT_RAMP)
        if list(steps) != sorted(set(steps)) or not all(0 < step <= 50 for step in steps):
            raise ValueError(
                f"ramp {steps}: give rising percentages in 1..50; beyond half the control would be the smaller arm"
            )
        policy = JudgePolicy(deciding_heads=deciding or None)
        return cls(steps, policy if min_users is None else replace(policy, min_users=min_users), step_timeout_s)


class Rollout:
    """Takes one release along; all state is in the ledger."""

    def __init__(self, settings: Settings, policy: RolloutPolicy | None = None) -> None:
        self.settings = settings
        self.policy = policy or RolloutPolicy()
        self.ledger = Ledger(settings.platform_database_url)
        self.approvals = Approvals(settings.platform_database_url)
        self.evidence = EvidenceStore(settings.platform_database_url)
        self.arms = Arms(settings, self.ledger)
        self.own_actions = slots_by_name(IdTable(settings.platform_database_url))

    # ---- build ----------------------------------------------------------------------------------------------------
    def build(self, model: str, note: str) -> str:
        """Build a bento of the full mixer around registry model `model` (alias or version); returns the release id."""
        version = version_of(self.settings, model)
        releases = self.ledger.releases()
        for known in releases:
            if known.manifest.model_version == version and known.state not in ENDED:
                return known.release_id  # built by a run that was killed
        release_id = f"r{len(releases) + 1}"
        announce(f"building release {release_id} around model version {version}")
        bundle = bundle_of(self.settings, version)
        manifest = self._manifest(release_id, version, bundle, note)
        self.ledger.create(manifest, actor=ACTOR)
        return release_id

    def _manifest(self, release_id: str, version: str, bundle: Path, note: str) -> ReleaseManifest:
        from services.mixer.bento import build_bento

        content = {
            "release_id": release_id,
            "model_name": MODEL_NAME,
            "model_version": version,
            "bundle": str(bundle),
            "feature_service": RANKING,
            "weight_preset": DEFAULT_PRESET,
            "settings": {"note": note},
            "data_fingerprint": data_fingerprint(self.settings, version),
            "created_at": datetime.now(UTC).isoformat(),
        }
        tag = build_bento(self.settings, release_id, content)
        return ReleaseManifest(**content, bento_tag=tag)

    # ---- start ----------------------------------------------------------------------------------------------------
    def start(self, release_id: str) -> dict:
        """Start the release's mixer and serve real requests with it; returns what the readiness check saw."""
        address = self.arms.start(release_id)
        return readiness(address)

    def go_live_first(self, release_id: str, evidence: dict) -> None:
        """The first release has nothing to be compared with: readiness alone decides."""
        if self.ledger.state(release_id) == ReleaseState.BUILT:
            self.ledger.transition(
                release_id,
                ReleaseState.LIVE,
                ACTOR,
                "first release: nothing to compare with; readiness passed",
                evidence=evidence,
            )

    # ---- canary ---------------------------------------------------------------------------------------------------
    def canary(self, release_id: str) -> Verdict:
        """Ramp up step by step, each on the judge's word; a rollback needs no person."""
        reached = self._reached(release_id)
        verdict: Verdict | None = None
        for percent in [step for step in self.policy.ramp if step >= reached]:
            if percent > reached or self.ledger.state(release_id) != ReleaseState.CANARY:
                self._step(release_id, percent, verdict)
            announce(f"canary {release_id} at {percent} %")
            verdict = self._await_verdict(release_id, percent)
            if self.ledger.state(release_id) in ENDED:
                break  # somebody took it out while it was judged
            if verdict.decision != "promote":
                said = "" if verdict.decision == "rollback" else "no verdict in time: "
                self.roll_back(release_id, said + "; ".join(verdict.reasons), verdict.to_dict())
                break
        if verdict is None:
            raise RuntimeError(
                f"release {release_id} is at {reached} %, beyond the ramp {self.policy.ramp}; give one that goes further"
            )
        return verdict

    def _reached(self, release_id: str) -> float:
        route = self.ledger.route()
        return route.canary_percent if route.canary == release_id else 0.0

    def _step(self, release_id: str, percent: int, verdict: Verdict | None) -> None:
        """Widen the canary. Evidence begins anew: users who saw both releases across a step are excluded from both arms."""
        live = self.ledger.route().live
        newest = self.evidence.newest_us([release for release in (live, release_id) if release])
        evidence = {
            "since_us": 0 if newest is None else newest + 1,
            "verdict": None if verdict is None else verdict.to_dict(),
            "deciding_heads": list(self._deciding_heads(release_id)),
        }
        reason = f"{percent} % of users" if verdict is None else f"{percent} % of users: " + "; ".join(verdict.reasons)
        self.ledger.transition(release_id, ReleaseState.CANARY, ACTOR, reason, evidence=evidence, percent=percent)

    def _deciding_heads(self, release_id: str) -> tuple[str, ...]:
        """The heads that decide over the canary: those of its first step, else chosen now.

        Chosen are those that the settings name, else those that the live bundle records; of these the ones that visits are
        judged by, as far as visits tell. The ledger keeps them, since the judge's intervals hold for one choice alone.
        """
        if steps := self._steps(release_id):
            return tuple(steps[0].evidence.get("deciding_heads", ()))
        live = self.ledger.route().live
        named = self.policy.judge.deciding_heads
        if named is None:
            named = recorded_deciding_heads(self.settings, self.ledger.manifest(live).model_version)
        judged = self.evidence.judged_heads(live)
        return tuple(head for head in named if head in judged) or named

    def _steps(self, release_id: str) -> list[LedgerEntry]:
        """The canary's steps, oldest first."""
        entries = self.ledger.entries()
        return [entry for entry in entries if entry.release_id == release_id and entry.state is ReleaseState.CANARY]

    def _await_verdict(self, release_id: str, percent: int) -> Verdict:
        deadline = time.monotonic() + self.policy.step_timeout_s
        visits = -1
        while True:
            verdict = self.judge_now(release_id, percent)
            if verdict.samples["treatment_visits"] != visits:  # something new to look at
                visits = verdict.samples["treatment_visits"]
                self.evidence.add_look(release_id, time.time_ns() // 1000, verdict.to_dict())
                announce(
                    f"canary {release_id} at {percent} %: {verdict.decision} after {visits:,} visits; {verdict.reasons[0]}"
                )
            if verdict.decision in ("promote", "rollback") or time.monotonic() > deadline:
                return verdict
            if self.ledger.state(release_id) in ENDED:
                return verdict
            time.sleep(POLL_S)

    def judge_now(self, release_id: str, percent: float) -> Verdict:
        """The judge's word on this step's evidence: the canary's users against the live release's users of the same time."""
        live = self.ledger.route().live
        arms = self.evidence.load([live, release_id], since_us=self._steps(release_id)[-1].evidence["since_us"])
        policy = replace(
            self.policy.judge,
            treatment_share=percent / 100,
            deciding_heads=self._deciding_heads(release_id) or None,
            own_actions=self.own_actions,
        )
        return judge(arms[live], arms[release_id], policy)

    def roll_back(self, release_id: str, reason: str, evidence: dict | None, actor: str = "judge") -> None:
        """Out of the route in one transaction; the process goes later, when its last requests have ended."""
        self.ledger.transition(release_id, ReleaseState.ROLLED_BACK, actor, reason, evidence=evidence)
        announce(f"release {release_id} rolled back: {reason}")

    def through_canary(self, release_id: str) -> None:
        """Canary, approval, live; stops at the first step that says no."""
        if self.ledger.state(release_id) != ReleaseState.AWAITING_APPROVAL:
            verdict = self.canary(release_id)
            if verdict.decision != "promote" or self.ledger.state(release_id) in ENDED:
                return
            self._ask(release_id, verdict)
        if self.await_approval(release_id):
            announce(f"release {release_id} is live")

    def crown(self, release_id: str) -> None:
        """The model of a live release is the registry's champion; any other end leaves the alias alone."""
        if self.ledger.state(release_id) is ReleaseState.LIVE:
            set_alias(self.settings, CHAMPION, self.ledger.manifest(release_id).model_version)

    # ---- approval ---------------------------------------------------------------------------------------------------
    def _ask(self, release_id: str, verdict: Verdict) -> None:
        self.ledger.transition(
            release_id, ReleaseState.AWAITING_APPROVAL, ACTOR, "the judge found no harm", evidence=verdict.to_dict()
        )
        self.approvals.request(release_id, "the canary did no measurable harm; may it serve everybody?", verdict.to_dict())

    def await_approval(self, release_id: str) -> bool:
        """Wait for a person without holding anything: the question and the answer are rows in our own store."""
        announce(f"release {release_id} awaits a person's approval at {self.settings.gateway_url}/")
        deadline = time.monotonic() + self.settings.approval_timeout_s
        while time.monotonic() < deadline:
            decision = self.approvals.decision(release_id)
            if decision is not None:
                self._answer(release_id, decision)
                return decision.status == "approved"
            time.sleep(POLL_S)
        self.roll_back(release_id, f"no answer within {self.settings.approval_timeout_s} s", None, ACTOR)
        return False

    def _answer(self, release_id: str, decision: Approval) -> None:
        """Carry out a person's answer, unless the gateway has done so in the same moment as it took it."""
        if self.ledger.state(release_id) != ReleaseState.AWAITING_APPROVAL:
            return
        state = ReleaseState.LIVE if decision.status == "approved" else ReleaseState.ROLLED_BACK
        self.ledger.transition(release_id, state, decision.actor, decision.reason)


def readiness(address: str) -> dict:
    """Serve real requests with a fresh arm: a timeline for a stranger, and one with explanations; raise where one fails."""
    checks = {}
    with httpx.Client(base_url=address, timeout=30.0) as client:
        for path, body in (("/for_you", {"user_id": 0, "count": 10}), ("/following", {"user_id": 0, "count": 10})):
            response = client.post(path, json=body)
            response.raise_for_status()
            checks[path] = {"posts": len(response.json()["posts"]), "took_ms": response.json()["took_ms"]}
        posts = client.post("/for_you", json={"user_id": 0, "count": 5}).raise_for_status().json()["posts"]
        if not posts:
            raise RuntimeError(f"{address}: the timeline of user 0 is empty, so the release can't go on; see the mixer's log")
        body = {"user_id": 0, "post_ids": [post["post_id"] for post in posts]}
        checks["/score"] = {"scores": len(client.post("/score", json=body).raise_for_status().json()["scores"])}
    return checks
