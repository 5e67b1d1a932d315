"""The control room's one sentence says the worst thing first, and calm only where nothing below it says otherwise."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from infra.settings import Settings
from monitoring.alerts.rule import AlertState, Sample
from monitoring.alerts.rules import alert_rules
from services.gateway.pages.headline import headline
from services.gateway.pages.loop import loop_stages, open_drift_verdict
from services.releases.route import Route

CALM = {"any_entry": True, "failover": None, "looping": (), "firing": (), "pending": ()}
CALM |= {"ledger_broken": False, "drift": None, "drift_answered": None, "failed": (0, 900)}
LOOP = "stream-worker"
RULES = {rule.name: rule for rule in alert_rules(Settings())}
PAGE = AlertState(RULES["FeaturesNotFresh"], Sample("m", {}, 99.0))
TICKET = AlertState(RULES["NoEvents"], Sample("m", {}, 9_999.0))


@pytest.mark.parametrize(
    ("changes", "tone", "said"),
    [
        ({}, "calm", "All is calm"),
        ({"drift": "retrain"}, "attention", "The drift check asks for a retraining"),
        ({"drift": "rollback"}, "attention", "The drift check asks for a rollback"),
        ({"failed": (12, 3_400), "drift": "warn"}, "attention", "12 of 3,400 requests failed in the last two minutes"),
        ({"failed": (900, 900), "pending": (SimpleNamespace(release_id="r3"),)}, "alarm", "900 of 900 requests failed"),
        ({"failed": (1, 9_000), "pending": (SimpleNamespace(release_id="r3"),)}, "attention", "r3 waits for your answer"),
        ({"drift": "warn"}, "attention", "The drift check warns"),
        ({"drift": "warn", "firing": (TICKET,)}, "attention", "No event has come for a while"),
        ({"drift_answered": "retrain"}, "calm", "All is calm: the retraining that the drift check asked for is done"),
        ({"ledger_broken": True, "drift": "retrain"}, "alarm", "The ledger's chain is broken"),
        ({"firing": (TICKET,)}, "attention", "No event has come for a while"),
        ({"pending": (SimpleNamespace(release_id="r3"),), "drift": "retrain"}, "attention", "r3 waits for your answer"),
        ({"firing": (TICKET, PAGE), "pending": (SimpleNamespace(release_id="r3"),)}, "alarm", "Events wait at the broker"),
        ({"looping": (LOOP,), "firing": (PAGE,)}, "alarm", "stream-worker dies again and again"),
        ({"failover": "r1", "looping": (LOOP,)}, "alarm", "r2 does not answer; r1 stands in for it"),
    ],
)
def test_the_worst_is_said_first(changes, tone, said):
    found = headline(Route(live="r2"), **{**CALM, **changes})
    assert found[0] == tone
    assert found[1].startswith(said)


def test_nothing_live_is_an_alarm_only_after_a_first_release():
    assert headline(Route(), **CALM) == ("alarm", "Nothing is live")
    assert headline(Route(), **{**CALM, "any_entry": False}) == ("quiet", "Nothing was released yet")


def test_a_drift_verdict_is_open_until_what_it_asked_for_was_done(tmp_path):
    check = tmp_path / "drift" / "latest.json"
    check.parent.mkdir()
    check.write_text(json.dumps({"verdict": "retrain"}))
    os.utime(check, (1_000, 1_000))
    assert open_drift_verdict(tmp_path, {"verdict": "warn"}, []) == "warn"
    assert open_drift_verdict(tmp_path, {"verdict": "ok"}, []) is None
    assert open_drift_verdict(tmp_path, {"verdict": "retrain"}, []) == "retrain"
    model = tmp_path / "training" / "v2.json"
    model.parent.mkdir()
    model.touch()
    os.utime(model, (900, 900))
    assert open_drift_verdict(tmp_path, {"verdict": "retrain"}, []) == "retrain"
    os.utime(model, (1_100, 1_100))
    assert open_drift_verdict(tmp_path, {"verdict": "retrain"}, []) is None
    undone = SimpleNamespace(state="rolled_back", at=datetime.fromtimestamp(1_050, UTC).isoformat())
    assert open_drift_verdict(tmp_path, {"verdict": "rollback"}, []) == "rollback"
    assert open_drift_verdict(tmp_path, {"verdict": "rollback"}, [undone]) is None


def test_the_loop_says_of_an_answered_check_that_it_is_done(tmp_path):
    paths = Settings(home=tmp_path).paths
    check, model = paths.reports / "drift" / "latest.json", paths.reports / "training" / "v2.json"
    for file, at in ((check, 1_000), (model, 900)):
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (at, at))

    def drawn() -> list[tuple[str, str]]:
        stages = {stage.label: stage for stage in loop_stages(paths, Route(), [], {"verdict": "retrain"}, asked=False)}
        return [(stages[name].note, stages[name].state) for name in ("Drift", "Retrain")]

    assert drawn() == [("retrain", "alarm"), ("asked for by drift", "now")]
    os.utime(model, (1_100, 1_100))
    assert drawn() == [("retrain: done since", "done"), ("on schedule", "waiting")]
