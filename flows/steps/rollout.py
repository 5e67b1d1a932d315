"""A release's way up to its submission, and what is left to do when it has ended; in between the controller takes it along.

Every step first looks at the ledger and does only what is still missing, so a flow that was killed goes on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from feature_repo.chosen_heads import deciding_heads
from feature_repo.service_names import RANKING
from flows.steps.progress import announce
from flows.training.registered_versions import bundle_of, data_fingerprint, version_of
from flows.training.registry import CHAMPION, MODEL_NAME, set_alias
from infra.settings import Settings
from services.ranking.weights import DEFAULT_PRESET
from services.releases.ledger import Ledger
from services.releases.manifest import ReleaseManifest
from services.releases.plan import RolloutPlan
from services.releases.processes import Arms
from services.releases.release_runs import ReleaseRuns
from services.releases.rollouts import Rollouts
from services.releases.states import ReleaseState

ACTOR = "flow:release"
ENDED = (ReleaseState.RETIRED, ReleaseState.ROLLED_BACK)


class Rollout:
    """What the flows do for a release: build it, start it, submit it, and tidy up when it has ended. All state is stored."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.platform_database_url)
        self.rollouts = Rollouts(settings.platform_database_url)
        self.runs = ReleaseRuns(settings.platform_database_url)
        self.arms = Arms(settings, self.ledger)

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
    def submit(self, release_id: str, plan: RolloutPlan, asked_by: str) -> None:
        """Hand the release to the controller, which takes it through its canary, the question for approval, and live."""
        self.rollouts.submit(release_id, plan, asked_by or ACTOR)
        announce(f"release {release_id} is submitted; the controller takes it through {_steps(plan)} of users")

    def enter(self, release_id: str, run_id: str) -> str:
        """Let Prefect's flow run `run_id` take the release along; returns the id of the run that does.

        A release that is submitted stays with the run that submitted it; of one that is not, that run was killed.
        """
        return self.runs.enter(release_id, run_id, instead=not self.rollouts.submitted(release_id)).run_id

    def waits_for(self, release_id: str) -> str:
        """What a submitted release waits for, in one sentence."""
        steps = _steps(self.rollouts.of(release_id).plan)
        return (
            f"release {release_id} waits for its canary ({steps} of users) and a person's approval; cancel this run to take it "
            f"out of traffic, or follow it: mixer release watch {release_id}"
        )

    def plan(self, **chosen: Any) -> RolloutPlan:
        """The plan of a release beside the live one, by its fields; raises ValueError for one that no rollout can follow.

        Which heads decide follows from the outcomes, unless the settings name some.
        """
        named = tuple(deciding_heads(self.settings))
        return RolloutPlan(approval_timeout_s=self.settings.approval_timeout_s, deciding_heads=named, **chosen)

    # ---- ends -----------------------------------------------------------------------------------------------------
    def roll_back(self, release_id: str, reason: str) -> None:
        """Out of the route in one transaction; the process goes later, when its last requests have ended."""
        self.ledger.transition(release_id, ReleaseState.ROLLED_BACK, ACTOR, reason)
        announce(f"release {release_id} rolled back: {reason}")

    def finish(self) -> None:
        """Crown the model of the release that is live now, let the one before it stand by, and stop what serves nobody."""
        live = self.ledger.route().live
        if live is not None:
            self.crown(live)
        self.arms.start_standby()
        self.arms.retire_old()

    def crown(self, release_id: str) -> None:
        """The model of a live release is the registry's champion; any other end leaves the alias alone."""
        if self.ledger.state(release_id) is ReleaseState.LIVE:
            set_alias(self.settings, CHAMPION, self.ledger.manifest(release_id).model_version)


def _steps(plan: RolloutPlan) -> str:
    return ", ".join(f"{step:g}" for step in plan.ramp) + " %"


def readiness(address: str) -> dict:
    """Ask a fresh arm for user 0's /for_you and /following pages, and for the /score of the posts of such a /for_you page.

    Raises httpx.HTTPError where a request fails, and RuntimeError where that /for_you page is empty.
    """
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
