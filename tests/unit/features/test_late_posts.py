"""Events that came before their post count for its topic once the post is there, as if it had been there all along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates import late_posts
from feature_repo.aggregates.late_posts import fill_topics, place, to_place
from feature_repo.aggregates.stream_apply import Applier
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.aggregates.topics import Topics
from feature_repo.lake import Lake
from tests.small_events import small_events, small_posts
from tests.unit.features.test_stream_apply import records

EVENTS, POSTS = small_events(60), small_posts()
EARLY = POSTS.filter(pl.col("post_id") % 2 == 0)  # known from the start; the others come later


def applied(folder: Path, posts: pl.DataFrame) -> StreamState:
    """A state that has applied and saved EVENTS while it knew `posts`."""
    state = StreamState(folder / "stream")
    applier = Applier(state, Lake(folder / "lake"))
    applier.apply(records(EVENTS), Topics(posts))
    applier.save()
    return state


def assert_same_cells(state: StreamState, other: StreamState) -> None:
    for name, table in state.engine.tables.items():
        ours, theirs = (np.sort(one, order=["a", "b", "measure"]) for one in (table.cells, other.engine.tables[name].cells))
        assert len(ours) == len(theirs), name
        for field in set(ours.dtype.names) - {"shown", "saved", "padding"}:
            assert np.allclose(ours[field], theirs[field], rtol=1e-6), (name, field)


def test_events_before_their_post_end_as_if_it_had_been_known(tmp_path):
    state, wanted = applied(tmp_path / "late", EARLY), applied(tmp_path / "known", POSTS)
    with pytest.raises(AssertionError):
        assert_same_cells(state, wanted)
    state.close()
    state = StreamState(tmp_path / "late" / "stream")  # what waits for its post outlives the process

    posts = to_place(state, Topics(POSTS))
    late = EVENTS.filter(pl.col("post_id") % 2 == 1)
    assert posts.tolist() == sorted(late["post_id"].unique())
    with_topics = POSTS.filter(pl.col("topics").list.len() > 0)["post_id"].implode()
    users = place(state, Lake(tmp_path / "late" / "lake"), Topics(POSTS), posts)
    assert users.tolist() == sorted(late.filter(pl.col("post_id").is_in(with_topics))["user_id"].unique())
    assert_same_cells(state, wanted)
    assert len(to_place(state, Topics(POSTS))) == len(state.unplaced) == 0

    state.save()
    state.close()
    again = StreamState(tmp_path / "late" / "stream")
    assert len(again.unplaced) == 0
    assert_same_cells(again, wanted)
    again.close()
    wanted.close()


def test_histories_are_shown_with_the_topics_that_came_later(tmp_path):
    state, wanted = applied(tmp_path / "late", EARLY), applied(tmp_path / "known", POSTS)
    histories = np.sort(state.histories.rows.copy(), order="user_id")
    topics = np.sort(wanted.histories.rows.copy(), order="user_id")["exposures"]["topic"]
    assert (histories["exposures"]["topic"] != topics).any()
    held = np.arange(topics.shape[1]) < histories["length"][:, None]
    fill_topics(histories, Topics(POSTS))
    assert (histories["exposures"]["topic"][held] == topics[held]).all()
    state.close()
    wanted.close()


def test_a_post_that_never_comes_waits_and_no_more_wait_than_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(late_posts, "MOST_UNPLACED", 2)
    state = applied(tmp_path, EARLY)
    assert len(state.unplaced) == 2
    assert to_place(state, Topics(EARLY)).tolist() == []
    state.close()
