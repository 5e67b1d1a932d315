"""/explain: the stage, the rule and the numbers behind a post that is shown, and behind one that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.feature_rows import HEADS
from feature_repo.lake import Lake
from services.mixer.api_types import ExplainResponse
from services.mixer.sources.popular import PopularSource


@pytest.fixture(scope="module")
def user(small_settings) -> int:
    return Lake(small_settings.paths.lake).read("users")["user_id"].sort()[3]


@pytest.fixture
def explain(client, user, as_of):
    def ask(**body) -> dict:
        response = client.post("/explain", json={"user_id": user, "count": 10, "requested_at": as_of, **body})
        assert response.status_code == 200, response.text
        ExplainResponse.model_validate(response.json())
        return response.json()

    return ask


@pytest.fixture
def page(client, user, as_of) -> list[dict]:
    return client.post("/for_you", json={"user_id": user, "count": 10, "requested_at": as_of}).json()["posts"]


def test_the_page_is_explained_post_by_post(explain, page):
    explained = explain()["posts"]
    assert [post["post_id"] for post in explained] == [post["post_id"] for post in page]
    assert [post["why"] for post in explained] == [[post["reason"]] for post in page]
    assert all(post["outcome"] == "selected" and post["sources"] for post in explained)


def test_a_shown_posts_head_contributions_add_up_to_its_weighted_sum(explain, page):
    shown = explain(post_id=page[0]["post_id"])["posts"][0]
    assert (shown["outcome"], shown["position"]) == ("selected", 0)
    assert {head["head"] for head in shown["heads"]} == set(HEADS)
    for head in shown["heads"]:
        assert head["contribution"] == pytest.approx(head["weight"] * head["probability"], rel=1e-5)
    assert shown["scores"]["score"] == pytest.approx(page[0]["score"])
    assert shown["scores"]["score"] == pytest.approx(shown["scores"]["weighted_score"] * shown["scores"]["diversity_factor"])


def test_a_seen_post_is_explained_by_its_rule(explain, page):
    seen = page[0]["post_id"]
    explained = explain(post_id=seen, seen_post_ids=[seen])["posts"][0]
    assert (explained["outcome"], explained["rule"], explained["position"]) == ("removed", "seen_posts", None)
    assert explained["why"] == ["You have seen it already."]


def test_a_post_below_the_page_is_in_reserve_with_its_scores(explain, page, client, user, as_of):
    longer = client.post("/for_you", json={"user_id": user, "count": 30, "requested_at": as_of}).json()["posts"]
    below = next(post for post in longer if post["post_id"] not in {shown["post_id"] for shown in page})
    explained = explain(post_id=below["post_id"])["posts"][0]
    assert explained["outcome"] in ("reserve", "removed")
    if explained["outcome"] == "reserve":
        assert explained["why"][0].startswith("It ranked below")
        assert explained["scores"]["score"] == pytest.approx(below["score"])
    else:
        assert explained["rule"] == "author_cap"


def test_every_end_of_the_funnel_adds_up(explain):
    answer = explain()
    proposed = sum(stage["after"] for stage in answer["funnel"] if stage["kind"] == "source")
    assert sum(answer["ends"].values()) == proposed
    assert answer["ends"]["selected"] == 10


def test_a_post_that_nobody_knows_is_said_to_be_unknown(explain):
    outside = explain(post_id=2**61)["posts"][0]
    assert outside["outcome"] == "not_proposed"
    assert outside["why"][0] == "None of the sources (in_network, two_tower, similar_content, popular) proposed it for you."
    assert outside["why"][1] == "The platform knows nothing about this post yet."


def test_a_known_post_that_no_source_proposed_is_scored_for_comparison(explain, runtime, monkeypatch):
    narrow = replace(runtime.pipelines["for_you"], sources=(PopularSource(limit=40),))
    monkeypatch.setitem(runtime.pipelines, "for_you", narrow)
    corpus = runtime.corpus
    outside = explain(post_id=int(corpus.snapshot.post_id[corpus.by_popularity[-1]]))["posts"][0]
    assert (outside["outcome"], outside["sources"]) == ("not_proposed", [])
    assert outside["why"][1].startswith(f"Had it been proposed, its score would have been {outside['scores']['score']:.4f}")
    assert {head["head"] for head in outside["heads"]} == set(HEADS)


def test_following_explains_without_a_model(client, user, as_of):
    body = {"user_id": user, "product": "following", "count": 5, "requested_at": as_of}
    answer = client.post("/explain", json=body).json()
    assert answer["product"] == "following"
    for post in answer["posts"]:
        assert post["heads"] == []
        assert post["why"][0].startswith("You follow this author")
