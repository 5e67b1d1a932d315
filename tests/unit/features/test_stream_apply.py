"""Applying messages: exactly once through repeats, dead letters and a kill between the lake and the commit."""

from __future__ import annotations

import orjson
import polars as pl
import pytest

from feature_repo.aggregates.catalogue import STATE_INDEX, Key
from feature_repo.aggregates.stream_apply import Message, apply_messages, drop_uncommitted_parts
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.lake import Lake
from tests.small_events import small_events


@pytest.fixture
def state(tmp_path):
    opened = StreamState(tmp_path / "state.db")
    yield opened
    opened.close()


def messages(events: pl.DataFrame, first: int = 0, partition: int = 0) -> list[Message]:
    rows = [{**row, "occurred_at": row["occurred_at"].isoformat()} for row in events.iter_rows(named=True)]
    return [Message(partition, first + number, orjson.dumps(row)) for number, row in enumerate(rows)]


def impressions(state: StreamState, user: int) -> float:
    return float(state.states(Key.USER, [user]).state[0, STATE_INDEX["impression.all"]])


def ids_in(lake: Lake) -> list[str]:
    return sorted(lake.scan_events().select("event_id").collect()["event_id"].to_list())


def test_a_batch_moves_offsets_state_and_lake_together(state, tmp_path):
    lake, events = Lake(tmp_path / "lake"), small_events(40)
    applied = apply_messages(state, lake, {}, messages(events))
    assert (applied.good, applied.repeated, applied.dead) == (events.height, 0, 0)
    assert state.offsets() == {0: events.height}
    assert ids_in(lake) == sorted(events["event_id"].to_list())
    shown = events.filter((pl.col("action") == "impression") & (pl.col("product") != "history_before"))
    assert sum(impressions(state, user) for user in range(12)) == shown.height


def test_an_event_that_comes_again_changes_nothing_but_the_offset(state, tmp_path):
    lake, batch = Lake(tmp_path / "lake"), messages(small_events(40))
    apply_messages(state, lake, {}, batch)
    before = [impressions(state, user) for user in range(12)]
    again = [Message(0, message.offset + len(batch), message.value) for message in batch]
    applied = apply_messages(state, lake, {}, [*again, *[Message(1, number, one.value) for number, one in enumerate(batch)]])
    assert (applied.good, applied.repeated) == (0, 2 * len(batch))
    assert [impressions(state, user) for user in range(12)] == before
    assert len(ids_in(lake)) == len(batch)
    assert state.offsets() == {0: 2 * len(batch), 1: len(batch)}


def test_bad_messages_become_dead_letters_with_their_reason_and_stop_nothing(state, tmp_path):
    lake, good = Lake(tmp_path / "lake"), small_events(3)
    bad = [
        b"garbage",
        orjson.dumps(
            {
                "event_id": "x",
                "user_id": 1,
                "post_id": 1,
                "author_id": 1,
                "action": "stare",
                "product": "tab_1",
                "occurred_at": 1,
            }
        ),
    ]
    batch = messages(good) + [Message(0, good.height + number, value) for number, value in enumerate(bad)]
    applied = apply_messages(state, lake, {}, batch)
    assert (applied.good, applied.dead) == (good.height, 2)
    letters = pl.read_parquet(tmp_path / "lake" / "dead_letters" / "*.parquet").sort("offset")
    assert letters["message"][0] == "garbage"
    assert letters["reason"][0].startswith("not JSON")
    assert letters["reason"][1] == "action is not in the closed set"
    assert state.offsets() == {0: good.height + 2}


def test_a_kill_between_the_lake_and_the_commit_is_undone_and_done_again(state, tmp_path, monkeypatch):
    lake, batch = Lake(tmp_path / "lake"), messages(small_events(40))
    apply_messages(state, lake, {}, batch[:50])
    with monkeypatch.context() as patch:
        patch.setattr("feature_repo.aggregates.stream_apply.fold_events", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            apply_messages(state, lake, {}, batch[50:])
    assert state.offsets() == {0: 50}
    assert len(ids_in(lake)) == len(batch)  # the part is there, its offsets are not
    assert drop_uncommitted_parts(state, lake) == [f"stream-0-50-{len(batch) - 1}"]
    assert len(ids_in(lake)) == 50
    applied = apply_messages(state, lake, {}, batch[50:])
    assert (applied.good, applied.repeated) == (len(batch) - 50, 0)
    assert len(ids_in(lake)) == len(set(ids_in(lake))) == len(batch)


def _power_cut(*arguments):
    raise KeyboardInterrupt


def test_touched_keys_wait_to_be_written_until_they_are_marked(state, tmp_path):
    apply_messages(state, Lake(tmp_path / "lake"), {100: 3}, messages(small_events(40)))
    waiting = state.unwritten(Key.USER)
    assert waiting == sorted(small_events(40)["user_id"].unique().to_list())
    state.mark_written(Key.USER, waiting[:2])
    assert state.unwritten(Key.USER) == waiting[2:]
    assert state.unwritten(Key.TOPIC) == [3]


def test_keys_that_changed_since_a_moment_are_marked_for_writing(state, tmp_path):
    events = small_events(60)
    apply_messages(state, Lake(tmp_path / "lake"), {}, messages(events))
    for key in Key:
        state.mark_written(key, state.unwritten(key))
    newest = events["occurred_at"].dt.epoch("us").max()
    assert state.mark_changed_since(newest + 1) == 0
    assert state.mark_changed_since(newest) >= 3  # the user, the post and the author of the newest event
    last = events.sort("occurred_at").tail(1)
    assert last["user_id"][0] in state.unwritten(Key.USER)
