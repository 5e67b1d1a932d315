"""A post that appears between two snapshots: retrieved, filtered, ranked and served without a rebuild."""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from starlette.testclient import TestClient

from feature_repo.lake import Lake
from feature_repo.live_posts import write_live_posts
from feature_repo.recomputation.served_vectors import read_served_vectors
from feature_repo.snapshot import build_snapshot, publish
from infra.settings import Settings
from services.intake.events import examine
from services.intake.producer import EventProducer
from services.mixer.api_types import TimelineRequest
from services.mixer.app import create_app
from services.mixer.queries import timeline_query
from services.mixer.runtime import MixerRuntime
from services.mixer.sources.similar_content import engaged_posts
from tests.patient import patient

FRESH = 9_000_000


@pytest.fixture
def settings(small_settings, tmp_path) -> Settings:
    """A copy of the small home, whose lake may be written to."""
    home = tmp_path / "home"
    shutil.copytree(small_settings.paths.home, home)
    return small_settings.model_copy(update={"home": home, "served_sample_every_s": 1e-6})


@pytest.fixture
def runtime(settings):
    manifest = {"release_id": "r-fresh", "bundle": "untrained"}
    runtime = patient(MixerRuntime(settings, manifest, EventProducer(settings, delivery_timeout_ms=500)))
    yield runtime
    runtime.close()


@pytest.fixture
def user(settings) -> int:
    return Lake(settings.paths.lake).read("users")["user_id"].sort()[3]


def write_post(settings: Settings, like_row: int, post_id: int = FRESH, part: str = "fresh", **changes: pl.Expr) -> None:
    """A post of now, by the author and with the topics and text of another; `changes` replaces columns."""
    lake = Lake(settings.paths.lake)
    one = lake.read("posts").sort("post_id")[like_row]
    now = datetime.now(UTC) - timedelta(seconds=1)
    moment = pl.lit(now).cast(one.schema["created_at"])
    lake.write("posts", one.with_columns(post_id=pl.lit(post_id, pl.Int64), created_at=moment, **changes), part)


def explain(client, user: int, post_id: int = FRESH, count: int = 200) -> dict:
    response = client.post("/explain", json={"user_id": user, "count": count, "post_id": post_id})
    assert response.status_code == 200, response.text
    assert response.json()["degraded"] == []
    return response.json()["posts"][0]


def test_a_post_written_to_the_lake_is_served_after_the_next_refresh(runtime, settings, user):
    with TestClient(create_app(runtime)) as client:
        assert explain(client, user)["outcome"] == "not_proposed"
        index, version = runtime.corpus.index, runtime.corpus.version
        write_post(settings, like_row=0)
        assert not runtime.refresh()

        explained = explain(client, user)
        assert "two_tower" in explained["sources"]
        assert explained["outcome"] in ("selected", "reserve")
        assert {"light_score", "weighted_score", "score"} <= explained["scores"].keys()
        page = client.post("/for_you", json={"user_id": user, "count": 200}).json()["posts"]
        assert (FRESH in {post["post_id"] for post in page}) == (explained["outcome"] == "selected")
        scored = client.post("/score", json={"user_id": user, "post_ids": [FRESH]}).json()["scores"][0]
        assert scored["known"]
        assert scored["predictions"] == pytest.approx({h["head"]: h["probability"] for h in explained["heads"]}, abs=1e-5)
        assert runtime.corpus.index is index
        assert runtime.corpus.version == version


def test_a_fresh_post_without_events_is_proposed_for_its_content_alone(runtime, settings):
    snapshot = runtime.corpus.snapshot
    engaged = {user: engaged_posts(runtime.online.user(user, snapshot.as_of_us).history) for user in range(20)}
    user = max(engaged, key=lambda one: len(engaged[one]))
    row = int(snapshot.rows_of(engaged[user])[-1])
    silent = {"text": pl.lit(None, pl.String), "topics": pl.lit([], pl.List(pl.Int32))}
    write_post(settings, row)
    write_post(settings, row, post_id=FRESH + 1, part="silent", **silent)
    runtime.refresh()
    with TestClient(create_app(runtime)) as client:
        assert "similar_content" in explain(client, user)["sources"]
        assert "similar_content" not in explain(client, user, post_id=FRESH + 1).get("sources", [])


def test_the_author_of_a_fresh_post_is_known_to_events_and_its_own_rules_hold(runtime, settings, user):
    write_post(settings, like_row=5)
    runtime.refresh()
    author = int(runtime.corpus.snapshot.author_id[5])
    assert runtime.author_of(FRESH) == author
    with TestClient(create_app(runtime)) as client:
        explained = explain(client, author)
        assert (explained["outcome"], explained["rule"]) == ("removed", "own_posts")


def test_a_post_that_only_events_named_is_a_post_by_its_first_author_until_the_dataset_has_it(runtime, settings, user):
    lake, author, at = Lake(settings.paths.lake), int(runtime.corpus.snapshot.author_id[5]), datetime.now(UTC)
    sent = {"user_id": user, "post_id": FRESH, "author_id": author, "action": "like", "occurred_at": at.isoformat()}
    assert examine([sent], runtime.event_platform()).accepted
    assert write_live_posts(lake, settings.platform_database_url) == 1
    runtime.refresh()
    assert runtime.author_of(FRESH) == author
    row = lake.read("posts").filter(pl.col("post_id") == FRESH).row(0, named=True)
    assert (row["author_id"], row["created_at"]) == (author, at)
    with TestClient(create_app(runtime)) as client:
        scored = client.post("/score", json={"user_id": user, "post_ids": [FRESH]}).json()["scores"][0]
        assert scored["known"]

    write_post(settings, like_row=5, part="of_files")
    assert write_live_posts(lake, settings.platform_database_url) == 0
    assert lake.read("posts")["post_id"].to_list().count(FRESH) == 1


def test_a_running_request_keeps_the_posts_it_began_with(runtime, settings, user):
    query = timeline_query(runtime, "for_you", TimelineRequest(user_id=user, count=50))
    write_post(settings, like_row=0)
    runtime.refresh()
    result = asyncio.run(runtime.engine.execute(runtime.pipelines["for_you"], query, explain=True))
    assert result.trace.degraded == []
    assert FRESH not in result.trace.proposed.post_id
    assert len(result.page) == 50


def test_the_next_snapshot_holds_the_post_and_the_index_is_built_anew(runtime, settings, user):
    write_post(settings, like_row=0)
    runtime.refresh()
    assert runtime.corpus.snapshot.appended == 1
    index, as_of_us = runtime.corpus.index, runtime.corpus.snapshot.as_of_us
    as_of = datetime.fromtimestamp(as_of_us / 1e6, UTC)
    publish(settings, build_snapshot(settings, Lake(settings.paths.lake), as_of))
    write_post(settings, like_row=1, post_id=FRESH + 1, part="later")  # after the snapshot was built
    assert runtime.refresh()
    assert runtime.corpus.index is not index
    held = runtime.corpus.snapshot
    assert (held.rows_of([FRESH, FRESH + 1]) >= 0).all()
    assert held.appended == 1
    assert len(runtime.corpus.index) == len(held) == len(runtime.corpus.posts) - 1


def test_a_post_that_came_before_the_process_started_is_there_from_the_start(settings):
    write_post(settings, like_row=0)
    manifest = {"release_id": "r-fresh", "bundle": "untrained"}
    runtime = patient(MixerRuntime(settings, manifest, EventProducer(settings, delivery_timeout_ms=500)))
    assert runtime.corpus.snapshot.rows_of([FRESH])[0] == len(runtime.corpus.snapshot) - 1
    runtime.close()


def test_what_is_logged_of_a_fresh_post_is_what_was_used(runtime, settings, user):
    write_post(settings, like_row=0)
    now_us = time.time_ns() // 1_000
    runtime.refresh(now_us)

    async def ask() -> None:
        query = timeline_query(runtime, "for_you", TimelineRequest(user_id=user, count=1))
        only = runtime.pipelines["score"]
        scored = query.with_features({"given_posts": runtime.corpus.snapshot.post_id[-1:]})
        result = await runtime.engine.execute(only, scored)
        runtime.pipelines["for_you"].side_effects[1].run(result)
        await runtime.engine.drain()

    asyncio.run(ask())
    found = {vector.family: vector for vector in read_served_vectors(settings.paths.served_vectors)}
    assert (found["post"].key, found["post"].updated_at_us, found["post"].as_of_us) == (FRESH, 0, 0)
    assert found["post"].now_us == runtime.corpus.posts.moment_us
    assert found["author"].as_of_us == runtime.corpus.snapshot.as_of_us
