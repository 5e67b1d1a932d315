"""From a lake to the source: a post without any event is proposed to who liked posts with content near to its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from feature_repo.blocks import States
from feature_repo.content import Content
from feature_repo.contracts import Action
from feature_repo.feature_rows import UserFeatures
from feature_repo.fresh_posts import FreshPosts
from feature_repo.heads import mask_of
from feature_repo.lake import Lake
from feature_repo.snapshot import ENTITIES, assemble_snapshot, load_snapshot, publish
from infra.settings import Settings
from services.mixer.corpus import Corpus
from services.mixer.sources.similar_content import SimilarContentSource
from tests.contract_rows import contract_rows
from tests.unit.mixer.posts import NOW_US, TICK_US, FixedVectors, query, user

POSTS = contract_rows()["posts"]
LIKED, DISLIKED, SHOWN = mask_of([Action.LIKE]), mask_of([Action.CLICK, Action.NOT_INTERESTED]), mask_of([])
FRESH = 900


def of_two_kinds(embedded: bool) -> pl.DataFrame:
    """Posts of which the even ones are of one kind and the odd ones of another, by embedding or by text."""
    odd = [post % 2 for post in range(POSTS.height)]
    kind, texts = {0: [1.0, 0.1, 0.0], 1: [0.0, 0.1, 1.0]}, {0: "cat sofa purr", 1: "dog postman bark"}
    nothing = pl.lit(None, pl.List(pl.Float32)) if not embedded else pl.lit(None, pl.String)
    if embedded:
        return POSTS.with_columns(embedding=pl.Series([kind[one] for one in odd], dtype=pl.List(pl.Float32)), text=nothing)
    return POSTS.with_columns(text=pl.Series([texts[one] for one in odd]), embedding=nothing)


@pytest.fixture(params=["embedding", "text"])
def lake(tmp_path, request) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write("posts", of_two_kinds(request.param == "embedding"), "dataset")
    return lake


def corpus_of(lake: Lake) -> Corpus:
    """The corpus as a mixer has it: published, mapped and indexed."""
    settings = Settings(home=lake.root.parent)
    posts = lake.read("posts").sort("post_id")
    states = dict.fromkeys(ENTITIES, States.empty(posts.height))
    publish(settings, assemble_snapshot(posts, states, NOW_US, content=Content.of(posts)))
    return Corpus.build(load_snapshot(settings), FixedVectors(), NOW_US, TICK_US)


def who(posts: dict[int, np.uint64]) -> UserFeatures:
    """A user with these posts in the history, and what was done to each."""
    known = user(list(posts))
    actions = known.history.actions.copy()
    actions[0, -len(posts) :] = list(posts.values())
    return replace(known, history=replace(known.history, actions=actions))


def proposed(corpus: Corpus, asking: UserFeatures, limit: int = 200) -> list[int]:
    return SimilarContentSource(limit).fetch(query(features={"user": asking}, corpus=corpus)).post_id.tolist()


def with_fresh(corpus: Corpus, lake: Lake, like_post: int, *, holding: bool = True) -> Corpus:
    """The corpus after a post that holds what `like_post` does, or nothing, came to the lake."""
    one = lake.read("posts").filter(pl.col("post_id") == like_post)
    one = one.with_columns(post_id=pl.lit(FRESH, pl.Int64), created_at=pl.lit(datetime(2022, 4, 1, tzinfo=UTC)))
    if not holding:
        one = one.with_columns(
            embedding=pl.lit(None, pl.List(pl.Float32)),
            text=pl.lit(None, pl.String),
            topics=pl.Series([[]], dtype=pl.List(pl.Int32)),
        )
    lake.write("posts", one, "fresh")
    return corpus.with_posts(FreshPosts(lake).beyond(corpus.snapshot), FixedVectors())


def test_who_liked_posts_of_one_kind_is_proposed_others_of_that_kind(lake):
    found = proposed(corpus_of(lake), who({2: LIKED, 4: LIKED, 7: SHOWN}), limit=20)
    assert len(found) == 20
    assert all(post % 2 == 0 for post in found)
    assert not {2, 4} & set(found)


def test_a_fresh_post_without_events_is_found_by_what_it_holds(lake):
    corpus = corpus_of(lake)
    asking, other = who({2: LIKED, 4: LIKED}), who({3: LIKED, 5: LIKED})
    fresh = with_fresh(corpus, lake, like_post=6)
    assert FRESH in proposed(fresh, asking)
    assert FRESH not in proposed(fresh, other, limit=20)
    assert FRESH not in proposed(corpus, asking)  # a request that keeps the older corpus
    assert proposed(fresh, asking, limit=29)[0] != 2


def test_a_fresh_post_that_holds_nothing_is_not_found(lake):
    corpus = with_fresh(corpus_of(lake), lake, like_post=6, holding=False)
    assert FRESH in corpus.snapshot.post_id
    assert FRESH not in proposed(corpus, who({2: LIKED, 4: LIKED}))


def test_what_was_only_shown_or_disliked_is_no_taste(lake):
    corpus = corpus_of(lake)
    assert proposed(corpus, who({3: SHOWN})) == proposed(corpus, who({3: DISLIKED})) == proposed(corpus, user()) == []
    assert proposed(corpus, who({12_345: LIKED})) == []


def test_posts_without_embedding_and_text_leave_the_source_silent(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.write("posts", POSTS.drop("embedding"), "dataset")
    corpus = corpus_of(lake)
    assert corpus.content_index is None
    assert proposed(corpus, who({2: LIKED})) == []
    fresh = with_fresh(corpus, lake, like_post=6)
    assert proposed(fresh, who({2: LIKED})) == []
