"""Decisions survive being kept, once each, and planted ones stay labelled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from monitoring.drift.decision import decide
from monitoring.drift.planted import plant_shift
from monitoring.drift.records import keep_decision, load_history
from tests.drift_frames import drift_rows

NOON = datetime(2024, 5, 2, 12, tzinfo=UTC)


def test_a_kept_decision_reads_back_equal_and_is_the_latest(tmp_path):
    decision = decide(drift_rows(1, 1000), drift_rows(2, 1000), at=NOON, label="2 May")
    keep_decision(tmp_path, decision, report="drift.html")
    assert load_history(tmp_path)[0].to_dict() == decision.to_dict()
    latest = json.loads((tmp_path / "latest.json").read_text())
    assert (latest["verdict"], latest["label"], latest["report"]) == ("ok", "2 May", "drift.html")


def test_numbers_that_json_lacks_come_back_as_not_a_number(tmp_path):
    constant = drift_rows(1, 1000).with_columns(**{"user.normal_0": 1.0 * (drift_rows(1, 1000)["user.normal_0"] > 99)})
    moved = constant.with_columns(**{"user.normal_0": constant["user.normal_0"] + 1})
    decision = decide(constant, moved, at=NOON)
    keep_decision(tmp_path, decision)
    assert "NaN" not in (tmp_path / "latest.json").read_text()
    (kept,) = load_history(tmp_path)
    shift = next(column.shift_sigmas for column in kept.columns if column.name == "user.normal_0")
    assert shift != shift


def test_keeping_a_window_twice_counts_it_once(tmp_path):
    decision = decide(drift_rows(1, 1000), drift_rows(2, 1000), at=NOON)
    keep_decision(tmp_path, decision)
    keep_decision(tmp_path, decision)
    later = decide(drift_rows(1, 1000), drift_rows(3, 1000), at=NOON + timedelta(hours=1))
    keep_decision(tmp_path, later)
    assert [kept.at for kept in load_history(tmp_path)] == [NOON, NOON + timedelta(hours=1)]


def test_a_planted_fault_is_labelled_in_what_is_kept(tmp_path):
    fault = plant_shift(drift_rows(2, 1000), "user.normal_0", sigmas=6)
    keep_decision(tmp_path, decide(drift_rows(1, 1000), fault.rows, at=NOON, planted=fault.description))
    assert load_history(tmp_path)[0].planted.startswith("planted: user.normal_0 shifted by +6 standard deviations")


def test_no_history_is_an_empty_list(tmp_path):
    assert load_history(tmp_path) == []
