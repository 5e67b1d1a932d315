"""The bench's rows: the log's own days, nothing learned from after the first question, and every repeat kept."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from feature_repo.datasets.search_path import find_kuairand
from feature_repo.exposures import ExposureLog
from feature_repo.heads import HEADS
from infra.settings import Settings
from tests.bench.quality import rows as quality

DAY = {day: date(2022, 5, day).toordinal() for day in range(1, 7)}


def log_of(*exposures: tuple[int, int, int]) -> ExposureLog:
    """Dated exposures (user, post, moment), sorted."""
    user, post, at = np.array(sorted(exposures, key=lambda one: (one[0], one[2])), np.int64).T
    n = len(user)
    none = np.zeros(n, np.int64)
    return ExposureLog(
        user_id=user,
        post_id=post,
        author_id=none,
        topic=none,
        product=none,
        at_us=at,
        asked_us=at,
        dated=np.ones(n, bool),
        actions=none.astype(np.uint64),
        action_at=np.zeros((0, len(HEADS)), np.int64),
        late_row=none - 1,
        dwell=none.astype(np.uint16),
        dwell_at=np.zeros(0, np.int64),
        dwell_so_far=np.zeros(0, np.uint16),
        late_dwell=none - 1,
        unanswered=np.zeros(0, np.int64),
    )


def test_rows_that_came_after_the_first_question_teach_nothing():
    log = log_of((1, 10, 100), (1, 11, 300), (2, 12, 200), (2, 13, 400), (3, 14, 500))
    day = np.array([DAY[3], DAY[3], DAY[4], DAY[5], DAY[6]])
    test, train = quality.split(log, day)
    assert log.at_us[test].tolist() == [200, 400]
    assert log.at_us[train].tolist() == [100]  # the one of 3 May at 300 came after the first row of 4 May


def test_undated_exposures_and_those_without_a_logged_day_take_no_part():
    log = log_of((1, 10, 100), (1, 11, 200), (2, 12, 300))
    test, train = quality.split(log, np.array([0, DAY[2], DAY[4]]))
    assert (log.at_us[test].tolist(), log.at_us[train].tolist()) == ([300], [200])
    with pytest.raises(ValueError, match="no exposure of 2022-05-04"):
        quality.split(log, np.array([0, DAY[2], DAY[3]]))


def test_repeats_of_one_millisecond_take_their_days_in_turn():
    log = log_of((1, 10, 100), (1, 10, 100), (2, 12, 300))
    logged = pl.DataFrame(
        {"user_id": [2, 1, 1], "post_id": [12, 10, 10], "at_us": [300, 100, 100], "day": [DAY[4], DAY[4], DAY[3]]},
        schema_overrides={"day": pl.Int32},
    )
    assert quality.exposure_days(log, logged).tolist() == [DAY[3], DAY[4], DAY[4]]
    assert quality.exposure_days(log, logged.head(1)).tolist() == [0, 0, DAY[4]]


def test_an_odd_share_of_users_is_refused():
    with pytest.raises(ValueError, match="share of users is 0"):
        quality.quality_rows(Settings(), 0)


def test_no_kuairand_is_said_with_the_places_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="mixer data fetch kuairand"):
        quality.quality_rows(Settings(home=tmp_path, data=tmp_path / "nowhere"))


@pytest.mark.slow
def test_the_slice_gives_the_exposures_of_the_reference_live_and_frozen(tmp_path):
    settings = Settings(home=tmp_path)
    if find_kuairand(settings) is None:
        pytest.skip("KuaiRand is not on this machine")
    rows = quality.quality_rows(settings, user_share=0.02)
    assert rows.warnings == ()  # of all users there are REFERENCE_EXPOSURES
    assert rows.train.occurred_at.max() < rows.live.occurred_at.min()
    np.testing.assert_array_equal(rows.live.labels, rows.frozen.labels)
    np.testing.assert_array_equal(rows.live.occurred_at, rows.frozen.occurred_at)
    first = np.unique(rows.user_day, return_index=True)[1]
    np.testing.assert_array_equal(rows.frozen.blocks["user"][first], rows.live.blocks["user"][first])
    for group in np.unique(rows.user_day)[:50]:
        of_day = np.flatnonzero(rows.user_day == group)
        assert (rows.frozen.history.post_id[of_day] == rows.frozen.history.post_id[of_day[0]]).all()
