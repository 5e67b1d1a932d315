"""Freshness from what the stream worker wrote and what the broker holds."""

from __future__ import annotations

import json

import pytest

from monitoring.freshness import Backlog, freshness, read_progress

NOW = 1_800_000_000.0
LIVE = {"written_at": NOW - 3, "newest_event_us": (NOW - 4) * 1e6, "waiting": 12, "offsets": {"0": 5}}
REPLAYED = {**LIVE, "newest_event_us": (NOW - 5e7) * 1e6}


def test_a_worker_that_keeps_up_is_fresh():
    found = freshness(LIVE, Backlog(0), NOW)
    assert found.newest_event_age_s == pytest.approx(4)
    assert found.last_save_age_s == pytest.approx(3)
    assert (found.behind_s, found.records_waiting, found.cells_waiting, found.replayed) == (0.0, 0, 12, False)


def test_a_replayed_log_is_old_and_not_behind():
    found = freshness(REPLAYED, Backlog(0), NOW)
    assert found.replayed
    assert found.newest_event_age_s == pytest.approx(5e7)
    assert found.behind_s == 0.0


def test_a_worker_that_stood_still_for_days_does_not_become_a_replay():
    found = freshness(LIVE, Backlog(40, NOW - 4e5), NOW + 4e5)
    assert not found.replayed
    assert found.behind_s == pytest.approx(8e5)


def test_a_record_whose_time_is_not_known_counts_from_the_last_save():
    assert freshness(LIVE, Backlog(40), NOW + 60).behind_s == pytest.approx(63)


def test_before_the_first_save_only_the_broker_speaks():
    found = freshness(None, Backlog(3, NOW - 20), NOW)
    assert (found.newest_event_age_s, found.last_save_age_s) == (None, None)
    assert found.behind_s == pytest.approx(20)


def test_a_broker_that_is_not_seen_leaves_it_open():
    found = freshness(LIVE, None, NOW)
    assert (found.behind_s, found.records_waiting) == (None, None)


def test_progress_is_read_as_the_worker_writes_it(tmp_path):
    assert read_progress(tmp_path) is None
    (tmp_path / "progress.json").write_text(json.dumps(LIVE))
    assert read_progress(tmp_path) == LIVE
