"""The sampler of served vectors: what it logs of a page, how often, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.aggregates.ranking_state import DERIVED_NAMES
from feature_repo.blocks import EMPTY_STATE, States, user_block
from feature_repo.feature_rows import History, UserFeatures
from feature_repo.profiles import POST_PROFILE, unknown_user_profile
from feature_repo.recomputation.served_vectors import ServedVector, ServedVectorLog, read_served_vectors
from feature_repo.request_rows import candidate_rows
from feature_repo.snapshot import Snapshot
from services.mixer.engine import Result
from services.mixer.ranking_contexts import RankingContext
from services.mixer.side_effects.served_vectors import POSTS_SAMPLED, ServedVectorSampler
from services.mixer.trace import Trace
from tests.unit.mixer.posts import NOW_US, candidates, query, snapshot

TAKEN_AT_US = 1_649_999_990_250_000  # 15 April 2022, 05:19:50.25
USED_US = NOW_US + 60_000_000


def posts() -> Snapshot:
    """Eight posts of three authors, without topics for the later half; the states of each row are told apart by their time."""
    made = snapshot([1, 1, 2, 2, 3, 3, 3, 3])
    states = {
        name: States(np.repeat(EMPTY_STATE, 8, axis=0) + np.float32(place), made.author_id * 1_000 + place)
        for place, name in enumerate(("post", "author", "topic"))
    }
    return replace(
        made,
        version=f"{NOW_US}-20220415T051950250000",
        topic=np.array([4, 4, 4, 4, -1, -1, -1, -1], np.int32),
        profile=np.zeros((8, len(POST_PROFILE)), np.float32),
        states=states,
    )


def served(count: int = 8, with_rows: bool = True) -> Result:
    """A finished request of user 7 whose page is the first `count` posts of `posts`."""
    state = States(EMPTY_STATE + np.float32(9), np.array([77]))
    user = UserFeatures(7, user_block(state, unknown_user_profile(), USED_US), History.empty(1), known=True, updated_at_us=77)
    corpus_posts = posts()
    context = RankingContext(user, USED_US)
    asked = query(corpus_posts, {"user": user, "context": context}, now_us=USED_US)
    page = candidates(corpus_posts.post_id[:count].tolist(), corpus_posts.author_id[:count].tolist())
    if with_rows:
        rows = candidate_rows(user, corpus_posts, np.arange(count), "for_you", USED_US)
        page = page.with_columns({"rows": rows, "snapshot_row": np.arange(count)})
    return Result(asked, page, Trace(keep_columns=False), took_ms=20.0)


@pytest.fixture
def logged(tmp_path):
    """A sampler that takes every request, and what it has logged."""
    sampler = ServedVectorSampler(ServedVectorLog(tmp_path, "r1-1"), "r1", every_s=1e-9)
    return sampler, lambda: read_served_vectors(tmp_path)


def of(family: str, found: list[ServedVector]) -> dict[int, ServedVector]:
    return {one.key: one for one in found if one.family == family}


def test_the_values_are_those_that_the_ranker_read_with_the_moments_to_compute_them_again(logged):
    sampler, log = logged
    result = served()
    sampler.run(result)
    found = log()
    user = of("user", found)[7]
    assert (user.updated_at_us, user.now_us, user.as_of_us) == (77, USED_US, None)
    np.testing.assert_array_equal(user.values, result.query["user"].user[0, : len(DERIVED_NAMES)])
    blocks = result.page["rows"].blocks
    assert set(of("author", found)) == {1, 2, 3}
    assert set(of("topic", found)) == {4}, "a post without a topic has no topic's aggregates"
    for row, post in enumerate(result.page.post_id.tolist()):
        if post in of("post", found):
            one = of("post", found)[post]
            np.testing.assert_array_equal(one.values, blocks["post"][row, : len(DERIVED_NAMES)])
            assert one.updated_at_us == result.page.author_id[row] * 1_000
    author = of("author", found)[2]
    assert (author.updated_at_us, author.as_of_us) == (2_001, NOW_US)
    assert author.read_at_us == TAKEN_AT_US


def test_a_page_is_sampled_and_not_copied(logged):
    sampler, log = logged
    sampler.run(served())
    assert len(of("post", log())) == POSTS_SAMPLED
    assert {0, 70} <= set(of("post", log()))  # the first and the last


def test_a_page_that_was_not_ranked_is_left_alone(logged):
    sampler, log = logged
    sampler.run(served(with_rows=False))
    sampler.run(served(count=0, with_rows=False))
    assert log() == []


def test_requests_between_two_samples_are_left_alone(tmp_path):
    sampler = ServedVectorSampler(ServedVectorLog(tmp_path, "r1-1"), "r1", every_s=3_600)
    for _ in range(3):
        sampler.run(served())
    assert len([one for one in read_served_vectors(tmp_path) if one.family == "user"]) == 1
