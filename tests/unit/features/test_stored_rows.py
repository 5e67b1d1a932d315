"""Stored rows are the point-in-time rows, and are built anew exactly when what they are made of changes."""

from __future__ import annotations

import os
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo import stored_rows as module
from feature_repo import training_rows
from feature_repo.aggregates.ranking_state import Key
from feature_repo.row_draw import EmptyDraw, RowDraw
from feature_repo.row_shards import DESCRIPTION
from feature_repo.stored_rows import KEPT_FOLDERS, selected_rows, stored_fingerprint, stored_rows
from feature_repo.training_rows import point_in_time_rows, row_pieces
from infra.settings import Settings
from tests.small_events import FIRST_DAY, small_events, small_lake, small_users
from tests.unit.features.test_row_shards import assert_same_rows

pytestmark = pytest.mark.slow  # each test builds training rows

DAYS = [FIRST_DAY + timedelta(days=number) for number in range(4)]


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    for place in (training_rows, module):
        monkeypatch.setattr(place, "CHUNK_ROWS", 64)  # many pieces of few rows
    return Settings(home=tmp_path / "home")


@pytest.fixture
def lake(tmp_path):
    return small_lake(tmp_path / "lake")


@pytest.fixture
def built(monkeypatch) -> list[int]:
    """Grows by one whenever rows are built."""
    times = []
    monkeypatch.setattr(module, "row_pieces", lambda *asked: times.append(1) or row_pieces(*asked))
    return times


def test_stored_rows_are_the_point_in_time_rows_bit_for_bit(settings, lake):
    expected = point_in_time_rows(settings, [lake], DAYS)
    assert len(list(row_pieces(settings, [lake], DAYS))) > 3
    assert_same_rows(stored_rows(settings, [lake], DAYS), expected)
    assert_same_rows(stored_rows(settings, [lake], DAYS), expected)  # the second time from what is kept


def test_a_draw_of_users_gives_their_rows_as_they_are_among_all(settings, lake):
    everybody = point_in_time_rows(settings, [lake], DAYS)
    since = int(np.quantile(everybody.occurred_at, 0.7))
    odd = RowDraw(
        "odd users, and all of the newest",
        lambda user_id, at_us: (user_id % 2 == 1) | (at_us >= since),
        lambda user_id: np.ones(len(user_id), bool),
    )
    wanted = np.flatnonzero((everybody.user_id % 2 == 1) | (everybody.occurred_at >= since))
    assert 0 < len(wanted) < len(everybody)
    assert_same_rows(stored_rows(settings, [lake], DAYS, odd), everybody.take(wanted))
    assert_same_rows(stored_rows(settings, [lake], DAYS), everybody)  # not mistaken for the drawn ones


def test_a_draw_of_few_users_reads_no_others(settings, lake):
    everybody = point_in_time_rows(settings, [lake], DAYS)
    few = RowDraw("one in five", lambda user_id, at_us: user_id % 5 == 0, lambda user_id: user_id % 5 == 0)
    wanted = np.flatnonzero(everybody.user_id % 5 == 0)
    assert 0 < len(wanted) < len(everybody) / 2
    assert_same_rows(stored_rows(settings, [lake], DAYS, few), everybody.take(wanted))


def test_only_what_the_drawn_rows_ask_for_is_written(settings, lake, monkeypatch):
    everybody = sum(len(rows) for rows in row_pieces(settings, [lake], DAYS))
    written = {}
    mapped, states = training_rows.map_exposure_log, training_rows.map_state_table
    monkeypatch.setattr(training_rows, "map_exposure_log", lambda *asked: written.setdefault("log", mapped(*asked)))
    monkeypatch.setattr(
        training_rows, "map_state_table", lambda found, key, folder: written.setdefault(key, states(found, key, folder))
    )
    few = RowDraw("one in five", lambda user_id, at_us: user_id % 5 == 0, lambda user_id: user_id % 5 == 0)
    asked = sum(len(rows) for rows in row_pieces(settings, [lake], DAYS, few))
    assert set(np.unique(written["log"].user_id) % 5) == {0}
    for key in Key:
        assert 0 < len(written[key].ids) <= asked < everybody / 3, key


def test_a_draw_that_keeps_nothing_says_so(settings, lake):
    nobody = RowDraw("nobody", lambda user_id, at_us: user_id < 0, lambda user_id: user_id < 0)
    with pytest.raises(EmptyDraw, match="none of the 12 users with events is drawn"):
        list(row_pieces(settings, [lake], DAYS, nobody))
    late = RowDraw("later than all", lambda user_id, at_us: at_us < 0, lambda user_id: user_id % 5 == 0)
    with pytest.raises(EmptyDraw, match="is of a user of the draw .later than all."):
        list(row_pieces(settings, [lake], DAYS, late))


def test_rows_are_built_once_for_the_same_data_and_days(settings, lake, built):
    for _ in range(3):
        stored_rows(settings, [lake], DAYS)
    assert len(built) == 1


def test_other_days_events_users_or_later_labels_are_other_rows(lake, tmp_path):
    first = stored_fingerprint([lake], DAYS[:2])
    assert stored_fingerprint([lake], [DAYS[1], DAYS[0]]) == first
    assert stored_fingerprint([lake], DAYS[:3]) != first
    assert stored_fingerprint([lake, small_lake(tmp_path / "other", small_events(seed=5))], DAYS[:2]) != first
    late = small_events(seed=9).filter(pl.col("occurred_at").dt.date() == DAYS[2])
    lake.write_events(late, "late")  # within the grace in which an action still is a label of the second day
    second = stored_fingerprint([lake], DAYS[:2])
    assert second != first
    lake.write("users", small_users(13), "small")
    assert stored_fingerprint([lake], DAYS[:2]) != second


def test_events_after_the_grace_leave_the_rows_what_they_are(lake):
    first = stored_fingerprint([lake], DAYS[:1])
    lake.write_events(small_events(seed=9).filter(pl.col("occurred_at").dt.date() >= DAYS[2]), "late")
    assert stored_fingerprint([lake], DAYS[:1]) == first


def test_damaged_rows_are_built_anew(settings, lake, built):
    expected = point_in_time_rows(settings, [lake], DAYS)
    stored_rows(settings, [lake], DAYS)
    (settings.paths.training_rows / stored_fingerprint([lake], DAYS) / DESCRIPTION).unlink()
    assert_same_rows(stored_rows(settings, [lake], DAYS), expected)
    assert len(built) == 2


def test_the_newest_folders_stay_and_what_is_mapped_is_read_on(settings, lake):
    mapped = stored_rows(settings, [lake], DAYS)
    expected = point_in_time_rows(settings, [lake], DAYS)
    oldest = settings.paths.training_rows / stored_fingerprint([lake], DAYS)
    os.utime(oldest, (1, 1))
    for number in range(KEPT_FOLDERS):
        stored_rows(settings, [lake], DAYS[: number + 1] if number < 3 else DAYS[1:])
    assert len(list(settings.paths.training_rows.iterdir())) == KEPT_FOLDERS
    assert not oldest.exists()
    assert_same_rows(mapped, expected)


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(settings, lake):
    left, being_written = (settings.paths.training_rows / name for name in (".known-left", ".known-now"))
    for folder in (left, being_written):
        folder.mkdir(parents=True)
    os.utime(left, (1, 1))
    stored_rows(settings, [lake], DAYS)
    assert not left.exists()
    assert being_written.exists()


def test_selected_rows_are_those_rows_and_leave_nothing_behind(settings, lake):
    rows = stored_rows(settings, [lake], DAYS)
    index = np.flatnonzero(rows.user_id % 3 > 0)
    with selected_rows(settings.paths.training_rows, rows, index) as selected:
        assert_same_rows(selected, rows.take(index))
        assert selected.post_id.base is not None  # mapped, not copied
    assert [folder.name for folder in settings.paths.training_rows.iterdir()] == [stored_fingerprint([lake], DAYS)]


def test_days_without_an_impression_leave_no_folder(settings, lake):
    with pytest.raises(ValueError, match="no dated impression on"):
        stored_rows(settings, [lake], [FIRST_DAY + timedelta(days=900)])
    assert list(settings.paths.training_rows.iterdir()) == []
