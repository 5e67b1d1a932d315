"""Alert rules: what fires on which values, and that Prometheus is told the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra.settings import Settings
from monitoring.alerts.rule import RUNBOOK, AlertRule, Sample, Severity, evaluate
from monitoring.alerts.rules import alert_rules, prometheus_rules, runbook

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "infra" / "prometheus" / "alerts.yaml"
RULES = alert_rules(Settings(freshness_bound_s=10, consistency_bound=0.01))


def firing(*samples: Sample) -> set[str]:
    return {state.rule.name for state in evaluate(RULES, samples) if state.firing}


def test_the_rules_file_of_prometheus_is_what_the_rules_say():
    assert FILE.read_text() == prometheus_rules(Settings.model_construct()), "write it anew: see its first lines"


def test_the_runbook_says_of_each_alert_what_the_rule_says():
    entries, page = runbook(Settings.model_construct()), ROOT / RUNBOOK
    assert entries in page.read_text(), f"write into {RUNBOOK}, under its heading Alerts:\n{entries}"
    assert RULES[0].runbook == "docs/releases.md#featuresnotfresh"  # as GitHub names the heading


def test_the_rules_file_is_what_prometheus_reads():
    (group,) = yaml.safe_load(FILE.read_text())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [rule.name for rule in RULES]
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["remedy"]
        assert rule["annotations"]["runbook"].startswith(RUNBOOK)
    by_name = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert by_name["NoEvents"] == 'home_mixer_stream_newest_event_age_seconds{log="live"} > 900'
    assert by_name["BrokerNotSeen"] == "home_mixer_stream_broker_seen < 1"


def test_no_value_is_no_alert_and_is_told_apart_from_a_good_one():
    states = evaluate(RULES, [])
    assert not any(state.firing for state in states)
    assert all(state.sample is None for state in states)


def test_events_that_wait_too_long_fire():
    assert firing(Sample("home_mixer_stream_behind_seconds", {}, 9.9)) == set()
    assert firing(Sample("home_mixer_stream_behind_seconds", {}, 10.1)) == {"FeaturesNotFresh"}


def test_old_events_fire_in_a_live_log_and_not_in_a_replayed_one():
    name = "home_mixer_stream_newest_event_age_seconds"
    assert firing(Sample(name, {"log": "replayed"}, 1e8)) == set()
    assert firing(Sample(name, {"log": "live"}, 1e4)) == {"NoEvents"}


def test_the_worst_series_decides():
    name = "home_mixer_consistency_differing_share"
    good, bad = Sample(name, {"family": "user"}, 0.0), Sample(name, {"family": "post"}, 0.2)
    assert firing(good, bad) == firing(bad, good) == {"ServedFeaturesDiffer"}
    healthy, ill = (Sample("mixer_gateway_arm_healthy", {"release": name}, value) for name, value in (("r1", 1), ("r2", 0)))
    (state,) = [one for one in evaluate(RULES, [healthy, ill]) if one.firing]
    assert (state.rule.severity, state.sample) == (Severity.PAGE, ill)


def test_a_rule_that_cannot_be_evaluated_is_refused():
    with pytest.raises(ValueError, match="'>='"):
        AlertRule("a", "m", ">=", 1, 0, Severity.PAGE, "w", "r")
