"""Applying records: exactly once through repeats, dead letters and a kill between the lake and the save."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

from feature_repo.aggregates.measures import MEASURE_INDEX
from feature_repo.aggregates.ranking_projection import dense_cells
from feature_repo.aggregates.stream_apply import AHEAD_US, LATE_US, Applied, Applier, Records
from feature_repo.aggregates.stream_parts import drop_uncommitted_parts
from feature_repo.aggregates.stream_seeded import SEEDED, STATE_FILE, is_seeded
from feature_repo.aggregates.stream_state import STATE_LAYOUT, StateDamaged, StateOutdated, StreamState
from feature_repo.aggregates.topics import Topics
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.lake import Lake
from infra.settings import Settings
from tests.small_events import START, small_events, small_posts

NOW_MS = round(START.timestamp() * 1e3) + 30 * 86_400_000
TOPICS = Topics(small_posts())


@pytest.fixture
def state(tmp_path) -> Iterator[StreamState]:
    opened = StreamState(tmp_path / "stream")
    yield opened
    opened.close()


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def records(events: pl.DataFrame, *more: bytes, first: int = 0, partition: int = 0) -> Records:
    rows = [{**row, "occurred_at": row["occurred_at"].isoformat()} for row in events.iter_rows(named=True)]
    values = [*map(orjson.dumps, rows), *more]
    return Records(partition, range(first, first + len(values)), values, [NOW_MS] * len(values))


def impressions(state: StreamState) -> list[float]:
    cells = dense_cells(state.engine.tables["user"], np.arange(12))
    return cells["total"][:, MEASURE_INDEX["impression"]].tolist()


def ids_in(lake: Lake) -> list[str]:
    return sorted(lake.scan_events().select("event_id").collect()["event_id"].to_list())


def letters(lake: Lake) -> pl.DataFrame:
    return pl.read_parquet(lake.root / "dead_letters" / "*.parquet").sort("partition", "offset")


def finds_again(state: StreamState, tmp_path: Path) -> None:
    """Close `state`; whoever opens it next finds what it held."""
    held = impressions(state)
    state.close()
    found = StreamState(tmp_path / "stream")
    assert impressions(found) == held
    found.close()


def test_a_save_moves_offsets_state_and_lake_together(state, lake):
    events, applier = small_events(40), Applier(state, lake)
    assert applier.apply(records(events), TOPICS) == Applied(events.height, 0, 0)
    applier.save()
    assert not applier.owes
    assert state.offsets() == {0: events.height}
    assert ids_in(lake) == sorted(events["event_id"].to_list())
    shown = events.filter((pl.col("action") == "impression") & (pl.col("product") != HISTORY_BEFORE))
    assert sum(impressions(state)) == shown.height


def test_what_was_saved_is_what_the_next_start_finds_and_nothing_more(state, lake, tmp_path):
    events, applier = small_events(60), Applier(state, lake)
    half = events.height // 2
    applier.apply(records(events[:half]), TOPICS)
    applier.save()
    saved = impressions(state)
    cells = {name: table.cells.copy() for name, table in state.engine.tables.items()}
    histories = state.histories.rows.copy()
    applier.apply(records(events[half:], first=half), TOPICS)  # never saved
    assert impressions(state) != saved
    state.close()
    found = StreamState(tmp_path / "stream")
    try:
        assert found.offsets() == {0: half}
        assert impressions(found) == saved
        assert len(found.ids) == half
        for name, table in found.engine.tables.items():
            for marks in ("shown", "saved"):
                cells[name][marks] = 0
            assert sorted(row.tobytes() for row in table.cells) == sorted(row.tobytes() for row in cells[name])
        kept = ["user_id", "newest_us", "length", "kept", "unanswered", "exposures", "answers"]
        assert sorted(str(row) for row in found.histories.rows[kept]) == sorted(str(row) for row in histories[kept])
        again = Applier(found, lake).apply(records(events, first=0), TOPICS)
        assert again == Applied(events.height - half, half, 0)
    finally:
        found.close()


def test_a_state_of_another_layout_is_refused_unless_it_holds_nothing(state, lake, tmp_path):
    """Rows of before there was dwell have the same length; read as today's they would say that nobody watched anything."""
    applier = Applier(state, lake)
    applier.apply(records(small_events(20)), TOPICS)
    applier.save()
    state.close()
    set_layout(tmp_path / "stream", 0)  # what a state says that knew of no layouts
    with pytest.raises(StateOutdated, match=f"layout 0, this version reads layout {STATE_LAYOUT}; remove the folder .*stream"):
        StreamState(tmp_path / "stream")
    assert issubclass(StateOutdated, StateDamaged)  # which the worker tells its user
    StreamState(tmp_path / "new").close()
    set_layout(tmp_path / "new", 0)
    StreamState(tmp_path / "new").close()


def set_layout(folder: Path, layout: int) -> None:
    connection = sqlite3.connect(folder / STATE_FILE)
    connection.execute(f"PRAGMA user_version={layout}")
    connection.close()


def test_an_event_that_comes_again_changes_nothing_but_the_offset(state, lake):
    events, applier = small_events(40), Applier(state, lake)
    applier.apply(records(events), TOPICS)
    before, count = impressions(state), events.height
    assert applier.apply(records(events, first=count), TOPICS) == Applied(0, count, 0)
    assert applier.apply(records(events, partition=1), TOPICS) == Applied(0, count, 0)
    applier.save()
    assert impressions(state) == before
    assert len(ids_in(lake)) == count
    assert state.offsets() == {0: 2 * count, 1: count}


def test_bad_messages_become_dead_letters_with_their_reason_and_stop_nothing(state, lake):
    good, applier = small_events(3), Applier(state, lake)
    stare = {**good.row(0, named=True), "event_id": "x", "action": "stare", "occurred_at": 1}
    assert applier.apply(records(good, b"garbage", orjson.dumps(stare)), TOPICS) == Applied(good.height, 0, 2)
    applier.save()
    assert letters(lake)["message"][0] == "garbage"
    assert letters(lake)["reason"][0].startswith("not JSON")
    assert letters(lake)["reason"][1] == "action is not in the closed set"
    assert letters(lake)["offset"].to_list() == [good.height, good.height + 1]
    assert state.offsets() == {0: good.height + 2}


def test_a_message_may_hold_several_events(state, lake):
    events, applier = small_events(20), Applier(state, lake)
    rows = [{**row, "occurred_at": round(row["occurred_at"].timestamp() * 1e6)} for row in events.iter_rows(named=True)]
    several = [orjson.dumps(rows[:7]), orjson.dumps(rows[7]), orjson.dumps(rows[8:])]
    assert applier.apply(Records(0, range(3), several, [NOW_MS] * 3), TOPICS) == Applied(events.height, 0, 0)
    applier.save()
    assert ids_in(lake) == sorted(events["event_id"].to_list())


def test_an_event_from_the_future_is_a_dead_letter_and_one_within_the_skew_is_not(state, lake):
    applier, row = Applier(state, lake), small_events(3).row(0, named=True)
    latest = NOW_MS * 1_000 + AHEAD_US
    values = [orjson.dumps({**row, "event_id": f"e{at}", "occurred_at": at}) for at in (latest, latest + 1_000_000)]
    assert applier.apply(Records(0, range(2), values, [NOW_MS] * 2), TOPICS) == Applied(1, 0, 1)
    applier.save()
    assert "301 s ahead of the broker's clock" in letters(lake)["reason"][0]


def test_ids_are_forgotten_only_when_they_are_many_and_old_and_then_older_events_are_refused(state, lake):
    applier, row = Applier(state, lake, ids_kept=2), small_events(3).row(0, named=True)
    newest = NOW_MS * 1_000
    times = [newest - 2 * LATE_US, newest - LATE_US, newest]

    def apply(first: int, ids: list[int]) -> Applied:
        values = [orjson.dumps({**row, "event_id": f"e{one}", "occurred_at": times[one]}) for one in ids]
        done = applier.apply(Records(0, range(first, first + len(ids)), values, [NOW_MS] * len(ids)), TOPICS)
        applier.save()
        return done

    assert apply(0, [0, 1]) == Applied(2, 0, 0)
    assert apply(2, [0]) == Applied(0, 1, 0)  # old, but not many: known
    assert apply(3, [2]) == Applied(1, 0, 0)
    assert len(state.ids) == 2
    assert apply(4, [0, 1]) == Applied(0, 1, 1)  # the old one can't be told from a repeated one any more
    assert "before the oldest moment whose event ids are remembered" in letters(lake)["reason"][0]


def test_a_kill_between_the_lake_and_the_save_is_undone_and_done_again(state, lake, tmp_path, monkeypatch):
    events, applier = small_events(40), Applier(state, lake)
    applier.apply(records(events[:50]), TOPICS)
    applier.save()
    applier.apply(records(events[50:], first=50), TOPICS)
    with monkeypatch.context() as patch:
        patch.setattr(StreamState, "write", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            applier.save()
    state.close()
    assert len(ids_in(lake)) == events.height  # the part is there, its offsets are not
    found = StreamState(tmp_path / "stream")
    try:
        assert drop_uncommitted_parts(found, lake) == [f"stream-0-50-{events.height - 1}"]
        assert len(ids_in(lake)) == 50
        applier = Applier(found, lake)
        assert applier.apply(records(events[50:], first=50), TOPICS) == Applied(events.height - 50, 0, 0)
        applier.save()
        assert ids_in(lake) == sorted(events["event_id"].to_list())
    finally:
        found.close()


def _power_cut(*arguments):
    raise KeyboardInterrupt


def test_saving_again_and_again_leaves_few_files(state, lake, tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.aggregates.stream_state._MOST_SECTIONS", 5)
    events, applier = small_events(60), Applier(state, lake)
    for first in range(0, events.height, 10):
        applier.apply(records(events[first : first + 10], first=first), TOPICS)
        applier.save()
    assert len(list((tmp_path / "stream").glob("rows-*.bin"))) <= 6
    finds_again(state, tmp_path)


def test_who_replaces_the_features_reads_offsets_and_ids_alone(state, lake, tmp_path):
    events, applier = small_events(40), Applier(state, lake)
    applier.apply(records(events), TOPICS)
    state.set_number(SEEDED, 1)
    applier.save()
    state.close()
    assert is_seeded(Settings(home=tmp_path))
    for replaced in (False, True):
        found = StreamState(tmp_path / "stream", features=not replaced)
        assert (sum(impressions(found)) > 0) != replaced
        assert (found.offsets(), len(found.ids)) == ({0: events.height}, events.height)
        assert not (replaced and is_seeded(Settings(home=tmp_path)))  # killed here, it is not taken for seeded
        found.save()
        found.close()
    empty = StreamState(tmp_path / "stream")
    assert (sum(impressions(empty)), len(empty.histories), len(empty.ids)) == (0, 0, events.height)
    empty.close()


def test_what_changed_as_a_whole_is_written_once_and_found_again(state, lake, tmp_path):
    events, applier = small_events(40), Applier(state, lake)
    applier.apply(records(events), TOPICS)
    cells = sum(table.cells.nbytes for table in state.engine.tables.values())
    rows = cells + state.histories.rows.nbytes + state.ids.ids.nbytes
    assert state.save() == rows + state.waiting.nbytes + state.unplaced.nbytes
    finds_again(state, tmp_path)


def test_what_is_captured_is_what_is_written_whatever_comes_meanwhile(state, lake, tmp_path):
    events, applier = small_events(60), Applier(state, lake)
    half = events.height // 2
    applier.apply(records(events[:half]), TOPICS)
    captured, then = state.capture(), impressions(state)
    applier.apply(records(events[half:], first=half), TOPICS)
    state.write(captured)
    assert impressions(state) != then
    state.close()
    found = StreamState(tmp_path / "stream")
    assert (impressions(found), found.offsets()) == (then, {0: half})
    found.close()
