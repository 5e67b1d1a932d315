"""Live requests: ranked from posts prepared at the tick, and from what is remembered of the user's last request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.lake import Lake
from feature_repo.request_rows import candidate_rows
from services.mixer.api_types import TimelineRequest
from services.mixer.calls import Caller
from services.mixer.engine import Engine
from services.mixer.queries import timeline_query
from services.mixer.ranking_contexts import RankingContexts


@pytest.fixture
def live(runtime, monkeypatch):
    """The shared runtime with nothing remembered, and an engine for the test's own event loops."""
    caller = Caller(threads=4)
    monkeypatch.setattr(runtime, "engine", Engine(caller))
    monkeypatch.setattr(runtime.contexts, "_held", type(runtime.contexts._held)())
    runtime.refresh()
    yield runtime
    caller.close()


@pytest.fixture
def user(small_settings) -> int:
    return Lake(small_settings.paths.lake).read("users")["user_id"].sort()[2]


@pytest.fixture
def timeline(live, user):
    def ask(now_us: int):
        query = replace(timeline_query(live, "for_you", TimelineRequest(user_id=user, count=30)), now_us=now_us)
        result = asyncio.run(live.engine.execute(live.pipelines["for_you"], query, explain=True))
        assert result.trace.degraded == []
        return result

    return ask


def lookups(live) -> tuple[float, float]:
    counter = live.metrics.score_cache
    return counter.labels("hit")._value.get(), counter.labels("miss")._value.get()


def test_a_live_page_is_that_of_the_dense_computation_on_the_ticks_moment(live, timeline):
    now_us = live.corpus.posts.moment_us + 11_000_000
    result = timeline(now_us)
    page, corpus = result.page, result.query.corpus
    stored = live.online.stored(result.query.user_id)
    of_user = candidate_rows(stored.at(now_us), corpus.snapshot, page["snapshot_row"], "for_you", now_us)
    of_posts = candidate_rows(stored.at(now_us), corpus.snapshot, page["snapshot_row"], "for_you", corpus.posts.moment_us)
    at_tick = {name: of_posts.blocks[name] for name in ("post", "author", "topic")}
    dense = replace(of_user, blocks={**of_user.blocks, **at_tick})
    np.testing.assert_allclose(page["predictions"], live.bundle.predict(dense), atol=1e-5)
    np.testing.assert_allclose(page["light_score"], live.bundle.light_score(dense), atol=1e-5)


def test_the_second_request_computes_no_score_anew_and_has_the_same_page(live, timeline):
    now_us = live.corpus.posts.moment_us + 11_000_000
    first = timeline(now_us)
    hits, misses = lookups(live)
    second = timeline(now_us + 15_000_000)
    assert second.page.post_id.tolist() == first.page.post_id.tolist()
    np.testing.assert_array_equal(second.page["predictions"], first.page["predictions"])
    more_hits, more_misses = lookups(live)
    assert more_misses == misses
    assert more_hits > hits


def test_a_new_event_of_the_user_is_seen_at_once(live, timeline, monkeypatch):
    now_us = live.corpus.posts.moment_us + 11_000_000
    first = timeline(now_us)
    _, misses = lookups(live)
    stored = live.online.stored(first.query.user_id)
    met = [int(first.page.post_id[0]), int(first.page.author_id[0]), -1, 1, 0, 0, now_us]
    changed = replace(stored, exposures=[*(stored.exposures or []), *met], updated_at=now_us)
    monkeypatch.setattr(type(live.online), "stored", lambda *_: changed)
    second = timeline(now_us + 1_000_000)
    assert lookups(live)[1] > misses
    assert int(first.page.post_id[0]) not in second.page.post_id
    assert second.query["context"].moment_us == now_us + 1_000_000


def test_without_a_cache_the_same_pages_are_served(live, timeline, monkeypatch):
    now_us = live.corpus.posts.moment_us + 11_000_000
    timeline(now_us)
    remembered = timeline(now_us)
    hydrator = live.pipelines["for_you"].query_hydrators[0]
    monkeypatch.setattr(hydrator, "_contexts", RankingContexts(0, 0))
    computed = timeline(now_us)
    assert computed.page.post_id.tolist() == remembered.page.post_id.tolist()
    np.testing.assert_array_equal(computed.page["predictions"], remembered.page["predictions"])


def test_the_tick_advances_with_the_clock_and_operators_see_it(runtime, client):
    before = runtime.corpus
    next_tick_us = before.posts.moment_us + before.tick_us
    assert not runtime.refresh(next_tick_us + 5)
    assert runtime.corpus.posts.moment_us == next_tick_us
    assert runtime.corpus.index is before.index
    runtime.refresh(time.time_ns() // 1_000)
    loaded = client.get("/release").json()["loaded"]
    assert loaded["posts_since_snapshot"] == 0
    assert loaded["posts_prepared_for"].endswith("+00:00")
    assert "mixer_posts_prepared_seconds_count" in client.get("/metrics").text
