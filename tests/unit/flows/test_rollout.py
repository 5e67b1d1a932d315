"""What decides over a canary is chosen once, at its first step, and stays whatever comes later."""

from __future__ import annotations

import json

import pytest

from flows.rollout import Rollout, RolloutPolicy
from infra.settings import Settings
from monitoring.canary.visits import VisitEvidence
from services.ranking.bundle import DESCRIPTION
from tests.unit.releases.made_releases import built


@pytest.fixture
def rollout(tmp_path, monkeypatch) -> Rollout:
    """r1 is live, its bundle records that share, like and click decide; r2 is built."""
    settings = Settings(home=tmp_path)
    settings.paths.platform_database.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("flows.training.registered_versions.bundle_of", lambda settings, version: tmp_path)
    record(tmp_path, "share", "like", "click")
    made = Rollout(settings)
    built(made.ledger, "r1", "r2")
    made.ledger.transition("r1", "live", "flow", "first release")
    return made


def record(folder, *heads: str) -> None:
    (folder / DESCRIPTION).write_text(json.dumps({"details": {"deciding_heads": heads}}))


def visits(rollout: Rollout, at_us: int, **losses: float) -> None:
    """One visit of each arm with so much loss by head."""
    pairs = [("r1", 1), ("r2", 2)]
    shared = {"request_id": f"q{at_us}", "at_us": at_us, "rows": 2, "log_loss": losses, "reference_log_loss": losses}
    rollout.evidence.add([VisitEvidence(release_id=release, user_id=user, **shared) for release, user in pairs])


def deciding(rollout: Rollout) -> list[str]:
    metrics = rollout.judge_now("r2", 50).metrics
    return [metric.name.removeprefix("log_loss.") for metric in metrics if metric.role == "decides"]


def test_the_live_bundles_record_decides_as_far_as_visits_are_judged_by_it(rollout):
    visits(rollout, 1, click=0.5, like=0.1, video_view=0.9)
    rollout._step("r2", 5, None)
    assert deciding(rollout) == ["like", "click"]
    assert rollout.ledger.entries()[-1].evidence["deciding_heads"] == ["like", "click"]


def test_before_any_visit_the_record_is_taken_as_it_is(rollout):
    rollout._step("r2", 5, None)
    assert deciding(rollout) == ["share", "like", "click"]


def test_a_choice_changes_neither_between_looks_nor_at_the_next_step_nor_by_a_restart(rollout):
    visits(rollout, 1, click=0.5, like=0.1)
    rollout._step("r2", 5, None)
    first = deciding(rollout)
    visits(rollout, 2, video_view=7.0, share=5.0)
    assert deciding(rollout) == first == ["like", "click"]
    record(rollout.settings.paths.home, "video_view")
    again = Rollout(rollout.settings, RolloutPolicy.of([5, 50], 60.0, None, deciding=("share",)))
    assert deciding(again) == first
    again._step("r2", 50, again.judge_now("r2", 5))
    visits(rollout, 3, video_view=7.0)
    assert deciding(again) == deciding(rollout) == first


def test_heads_that_the_settings_name_go_before_the_record(rollout):
    visits(rollout, 1, click=0.5, video_view=0.1)
    named = Rollout(rollout.settings, RolloutPolicy.of(None, 60.0, None, deciding=("video_view", "reply")))
    named._step("r2", 5, None)
    assert deciding(named) == ["video_view"]


def test_a_bundle_that_records_none_is_never_replaced_by_a_canary_that_nothing_judges(rollout):
    record(rollout.settings.paths.home)
    rollout._step("r2", 5, None)
    verdict = rollout.judge_now("r2", 5)
    assert verdict.decision == "inconclusive"
    assert any(reason.startswith("nothing to decide by") for reason in verdict.reasons)
