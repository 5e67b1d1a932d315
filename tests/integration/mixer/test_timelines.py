"""For You, Following and scores, served by the real app over a small simulated world."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from feature_repo.lake import Lake
from services.mixer.api_types import ScoreResponse, TimelineResponse
from services.ranking.weights import PRESETS, preset_named, weighted_score

NOBODY = 2**62


@pytest.fixture(scope="module")
def users(small_settings) -> list[int]:
    return Lake(small_settings.paths.lake).read("users")["user_id"].sort().head(12).to_list()


@pytest.fixture(scope="module")
def edges(small_settings):
    return Lake(small_settings.paths.lake).read("edges")


def ask(client, path: str, **body) -> dict:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_for_you_serves_whole_ranked_pages_with_reasons(client, users, as_of):
    for user in users:
        answer = ask(client, "/for_you", user_id=user, count=20, requested_at=as_of, request_id=f"r-{user}")
        TimelineResponse.model_validate(answer)
        posts = answer["posts"]
        assert (answer["request_id"], answer["user_id"], answer["release"]) == (f"r-{user}", user, "r-test")
        assert answer["degraded"] == []
        assert len(posts) == len({post["post_id"] for post in posts}) == 20
        assert [post["position"] for post in posts] == list(range(20))
        assert sorted((post["score"] for post in posts), reverse=True) == [post["score"] for post in posts]
        assert all(set(post["predictions"]) == set(HEADS) and post["reason"] for post in posts)
        assert user not in {post["author_id"] for post in posts}


def test_for_you_draws_on_every_source(client, users, as_of):
    pages = [ask(client, "/for_you", user_id=user, count=50, requested_at=as_of)["posts"] for user in users]
    found = {post["source"] for page in pages for post in page}
    assert {"in_network", "two_tower"} <= found


def test_the_funnel_starts_at_the_sources_and_ends_at_the_page(client, users, as_of):
    answer = ask(client, "/for_you", user_id=users[0], count=20, requested_at=as_of)
    by_stage = {stage["stage"]: stage for stage in answer["funnel"]}
    proposed = sum(stage["after"] for stage in answer["funnel"] if stage["kind"] == "source")
    assert by_stage["duplicates"]["before"] == proposed
    assert by_stage["light_cut"]["after"] <= 300
    assert by_stage["author_cap"]["after"] >= 20


def test_an_unknown_user_gets_a_cold_start_timeline(client, as_of):
    answer = ask(client, "/for_you", user_id=NOBODY, count=20, requested_at=as_of)
    assert len(answer["posts"]) == 20
    assert all("we do not know your taste yet" in post["reason"] for post in answer["posts"])


def test_posts_that_the_client_has_seen_do_not_come_back(client, users, as_of):
    first = [post["post_id"] for post in ask(client, "/for_you", user_id=users[0], count=10, requested_at=as_of)["posts"]]
    second = ask(client, "/for_you", user_id=users[0], count=10, seen_post_ids=first, requested_at=as_of)["posts"]
    assert not set(first) & {post["post_id"] for post in second}


def test_equal_requests_have_equal_pages(client, users, as_of):
    pages = [ask(client, "/for_you", user_id=users[1], count=20, requested_at=as_of)["posts"] for _ in range(2)]
    assert pages[0] == pages[1]


def test_no_muted_or_blocked_author_is_shown(client, users, edges, as_of):
    for user in users:
        hidden = set(edges.filter(edges["kind"].is_in(["mute", "block"]) & (edges["user_id"] == user))["target_id"])
        hidden |= set(edges.filter((edges["kind"] == "block") & (edges["target_id"] == user))["user_id"])
        for path in ("/for_you", "/following"):
            shown = {post["author_id"] for post in ask(client, path, user_id=user, count=200, requested_at=as_of)["posts"]}
            assert not shown & hidden


def test_following_is_newest_first_and_only_followed_authors(client, runtime, users, edges, as_of):
    created = dict(zip(runtime.corpus.snapshot.post_id.tolist(), runtime.corpus.snapshot.created_at_us.tolist(), strict=True))
    served = 0
    for user in users:
        answer = ask(client, "/following", user_id=user, count=30, requested_at=as_of)
        followed = set(edges.filter((edges["kind"] == "follow") & (edges["user_id"] == user))["target_id"])
        times = [created[post["post_id"]] for post in answer["posts"]]
        assert times == sorted(times, reverse=True)
        assert {post["author_id"] for post in answer["posts"]} <= followed
        assert all(time <= runtime.corpus.snapshot.as_of_us for time in times)
        served += len(times)
    assert served > 0


def test_a_user_who_follows_nobody_has_an_empty_following_timeline(client, as_of):
    answer = ask(client, "/following", user_id=NOBODY, requested_at=as_of)
    assert answer["posts"] == []
    assert answer["degraded"] == []


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_scores_are_the_presets_weighted_sum_in_the_order_asked(client, runtime, users, as_of, preset):
    asked = runtime.corpus.snapshot.post_id[[7, 3, 5, 3]].tolist()
    answer = ask(client, "/score", user_id=users[0], post_ids=asked, product="tab_1", requested_at=as_of, weights=preset)
    ScoreResponse.model_validate(answer)
    assert [row["post_id"] for row in answer["scores"]] == asked
    predictions = np.array([[row["predictions"][head] for head in HEADS] for row in answer["scores"]])
    served = preset_named(preset).learned(runtime.bundle.trained_heads)
    np.testing.assert_allclose([row["score"] for row in answer["scores"]], weighted_score(predictions, served), atol=1e-3)


def test_a_post_that_nobody_knows_is_scored_as_unknown(client, runtime, users, as_of):
    known = int(runtime.corpus.snapshot.post_id[0])
    answer = ask(client, "/score", user_id=users[0], post_ids=[NOBODY, known], requested_at=as_of)
    assert answer["scores"][0] == {"post_id": NOBODY, "known": False, "score": None, "predictions": None}
    assert answer["scores"][1]["known"]


def test_a_posts_score_does_not_depend_on_what_it_is_scored_with(client, runtime, users, as_of):
    posts = runtime.corpus.snapshot.post_id[:6].tolist()
    together = ask(client, "/score", user_id=users[0], post_ids=posts, requested_at=as_of)["scores"]
    alone = [ask(client, "/score", user_id=users[0], post_ids=[post], requested_at=as_of)["scores"][0] for post in posts]
    np.testing.assert_allclose([row["score"] for row in together], [row["score"] for row in alone], rtol=1e-4)


def test_for_you_and_score_agree_on_a_post(client, users, as_of):
    post = ask(client, "/for_you", user_id=users[2], count=5, requested_at=as_of)["posts"][0]
    scored = ask(client, "/score", user_id=users[2], post_ids=[post["post_id"]], product="for_you", requested_at=as_of)
    assert scored["scores"][0]["predictions"] == pytest.approx(post["predictions"], abs=1e-5)


def test_operators_see_the_release_the_metrics_and_the_documented_api(client):
    release = client.get("/release").json()
    assert release["manifest"]["release_id"] == "r-test"
    assert release["loaded"]["posts"] == 400
    exposition = client.get("/metrics").text
    assert 'mixer_requests_total{endpoint="/for_you",status="200"}' in exposition
    assert 'mixer_candidate_ends_total{end="duplicates",pipeline="for_you"}' in exposition
    document = client.get("/openapi.json").json()
    assert {"/for_you", "/following", "/score", "/explain", "/events"} <= set(document["paths"])
    for name in ("TimelineRequest", "ScoreRequest", "ExplainRequest", "EventsRequest"):
        assert document["components"]["schemas"][name]["examples"]
