"""Which rows and exposures a sequence has."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.event_messages import EVENT_SCHEMA
from feature_repo.training_rows import point_in_time_rows
from flows.training.user_sequences import UserSequences
from infra.settings import Settings
from services.ranking.inputs import TableBits
from tests.small_events import FIRST_DAY, START, small_lake
from tests.timelines import timelines


def test_rows_of_one_moment_do_not_see_one_another():
    rows = timelines(1, 3, 2)
    order = np.argsort(rows.occurred_at)
    same = rows.take(np.r_[order[:2], order[1]])
    sequences = UserSequences.of(same, np.arange(3), TableBits())
    assert sequences.end.tolist() == [2, 3, 3]


def test_no_row_reads_an_exposure_of_another_user():
    rows = timelines(5, 4, 3)
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    assert not (batch.seen & batch.tokens.padding.unsqueeze(1)).any()
    assert batch.seen.sum(dim=2)[batch.there].tolist() == sequences.end.tolist()


@pytest.mark.parametrize("gap", [timedelta(days=40, seconds=7), timedelta(milliseconds=50)], ids=["forty days", "50 ms"])
def test_sequences_hold_every_exposure_once_however_far_apart_rows_are(tmp_path, gap):
    base = {"user_id": 1, "author_id": 1, "product": "home", "action": "impression"}
    events = [
        {**base, "event_id": f"e{n}", "post_id": n, "request_id": f"r{n}", "occurred_at": START + n * gap} for n in range(9)
    ]
    lake = small_lake(tmp_path / "lake", pl.DataFrame(events, schema=EVENT_SCHEMA))
    rows = point_in_time_rows(Settings(home=tmp_path), [lake], lake.event_days())
    assert UserSequences.of(rows, np.arange(len(rows)), TableBits()).end.tolist() == list(range(9))


def test_rows_of_one_page_know_the_same_and_each_exposure_is_there_once(tmp_path):
    base = {"user_id": 1, "author_id": 1, "product": "home", "action": "impression"}
    shown = [(0, "a", 101), (1, "a", 102), (20, "b", 103), (21, "b", 104), (40, "c", 105)]
    events = [
        {**base, "event_id": f"e{post}", "post_id": post, "request_id": page, "occurred_at": START + timedelta(minutes=minute)}
        for minute, page, post in shown
    ]
    lake = small_lake(tmp_path / "lake", pl.DataFrame(events, schema=EVENT_SCHEMA))
    rows = point_in_time_rows(Settings(home=tmp_path), [lake], [FIRST_DAY])
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    assert sequences.end.tolist() == [0, 0, 2, 2, 4]
    in_minutes = (sequences.token_at - START.timestamp()) / 60
    assert np.round(in_minutes, 2).tolist() == [0, 1, 20, 21]
