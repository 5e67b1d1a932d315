"""Releases that the gateway's tests move about."""

from __future__ import annotations

from services.releases.approvals import Approvals
from services.releases.ledger import Ledger
from services.releases.manifest import ReleaseManifest


def manifest(release_id: str, **changes: object) -> ReleaseManifest:
    """A manifest that differs between releases by its name only."""
    content = {
        "release_id": release_id,
        "bento_tag": f"home_mixer:{release_id}",
        "model_version": "3",
        "bundle": f"bundles/{release_id}",
        "feature_service": "ranking",
        "weight_preset": "engagement",
        "data_fingerprint": "9f31c02a77be4d10",
        "created_at": "2022-05-03T12:00:00+00:00",
        **changes,
    }
    return ReleaseManifest.model_validate(content)


def built(ledger: Ledger, *release_ids: str, url: str = "http://127.0.0.1:9") -> None:
    """Create releases and register a process for each."""
    for release_id in release_ids:
        ledger.create(manifest(release_id), "builder")
        ledger.register_arm(release_id, url)


def approved_live(ledger: Ledger, url: str, release_id: str) -> None:
    """Take a built release through canary and approval to live."""
    ledger.transition(release_id, "canary", "flow", "try it", percent=25)
    ledger.transition(release_id, "awaiting_approval", "flow", "judge says promote")
    approvals = Approvals(url)
    approvals.request(release_id, "may it serve everybody?")
    approvals.approve(release_id, "Ada", "intervals are clear")
    ledger.transition(release_id, "live", "flow", "approved")
