"""The real products with one of their parts away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from feature_repo.feature_rows import FeatureRows
from feature_repo.lake import Lake
from feature_repo.snapshot import build_snapshot, load_snapshot, publish
from services.mixer.api_types import ScoreRequest, TimelineRequest
from services.mixer.calls import Caller
from services.mixer.engine import Engine
from services.mixer.products.for_you import for_you
from services.mixer.products.given_posts import given_posts
from services.mixer.products.parts import Parts
from services.mixer.queries import score_query, timeline_query
from services.mixer.ranking_contexts import RankingContexts
from services.mixer.warm_up import warm_up


class Away(ConnectionError):
    """What a part raises that cannot be reached."""


class AwayReader:
    def stored(self, user_id: int):
        raise Away("the online store is away")


class BlindRanker:
    """The runtime's bundle with its heavy ranker away."""

    def __init__(self, bundle) -> None:
        self._bundle = bundle

    def predict(self, rows: FeatureRows, looked_up=None, context=None):
        raise Away("the heavy ranker is away")

    def __getattr__(self, name: str):
        return getattr(self._bundle, name)


@pytest.fixture
def parts(runtime) -> Parts:
    return Parts(runtime.bundle, runtime.online, lambda: runtime.graph, runtime.recent_relations, RankingContexts(0, 0))


@pytest.fixture(autouse=True)
def own_engine(runtime, monkeypatch):
    """An engine of the test's own: the failures here must not open the circuits of other tests."""
    caller = Caller(threads=4)
    monkeypatch.setattr(runtime, "engine", Engine(caller))
    yield
    caller.close()


@pytest.fixture
def timeline(runtime, as_of):
    def ask(parts: Parts, user_id: int = 4):
        query = timeline_query(runtime, "for_you", TimelineRequest(user_id=user_id, count=10, requested_at=as_of))
        return asyncio.run(runtime.engine.execute(for_you(parts), query))

    return ask


def test_without_user_features_the_sources_that_need_none_still_fill_the_page(timeline, parts):
    result = timeline(replace(parts, user_features=AwayReader()))
    assert len(result.page) == 10
    assert {"user_features", "two_tower", "ranking_rows"} <= set(result.trace.degraded)
    assert {result.page.source_names[source] for source in result.page.source} <= {"in_network", "popular"}


def test_without_the_heavy_ranker_the_light_ranking_is_served(timeline, parts, runtime):
    result = timeline(replace(parts, bundle=BlindRanker(runtime.bundle)))
    assert len(result.page) == 10
    assert result.trace.degraded == ["heavy", "weighted"]
    assert (result.page["score"] == result.page["light_score"] * result.page["diversity_factor"]).all()


def test_without_the_graph_nothing_is_shown(timeline, parts):
    def unreadable():
        raise Away("the graph is unreadable")

    result = timeline(replace(parts, graph=unreadable))
    assert len(result.page) == 0
    assert {"social_graph", "muted_authors"} <= set(result.trace.degraded)


def test_scores_are_never_made_up(runtime, client, parts, as_of, monkeypatch):
    monkeypatch.setitem(runtime.pipelines, "score", given_posts(replace(parts, bundle=BlindRanker(runtime.bundle))))
    post = int(runtime.corpus.snapshot.post_id[0])
    answer = client.post("/score", json={"user_id": 4, "post_ids": [post], "requested_at": as_of})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "ranking_unavailable"


def test_a_release_whose_ranker_fails_does_not_become_ready(runtime, parts, monkeypatch):
    monkeypatch.setattr(runtime, "not_ready", "not warmed up yet")
    blind = replace(parts, bundle=BlindRanker(runtime.bundle))
    monkeypatch.setattr(runtime, "pipelines", {"for_you": for_you(blind), "score": given_posts(blind)})
    assert not asyncio.run(warm_up(runtime, pause_s=0))
    assert "the heavy ranker is away" in runtime.not_ready


def test_a_newer_snapshot_is_taken_up_and_a_running_request_keeps_its_own(runtime, small_settings, as_of):
    before = runtime.corpus
    query = score_query(runtime, ScoreRequest(user_id=4, post_ids=[int(before.snapshot.post_id[0])], requested_at=as_of))
    publish(small_settings, build_snapshot(small_settings, Lake(small_settings.paths.lake), datetime.fromisoformat(as_of)))

    assert runtime.refresh()
    assert runtime.corpus.version == load_snapshot(small_settings).version != before.version
    assert query.corpus is before
    assert len(asyncio.run(runtime.engine.execute(runtime.pipelines["score"], query)).page) == 1
    assert not runtime.refresh()
