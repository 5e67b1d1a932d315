"""What is remembered of a user's last request: used again only while all of it is still true, and then bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.history import STORED_COLUMNS
from feature_repo.request_rows import candidate_rows
from services.mixer.corpus import Corpus
from services.mixer.query import Query
from services.mixer.ranking_contexts import RankingContexts
from tests.drawn_posts import AS_OF_US, drawn_bundle, drawn_snapshot, stored_user

TICK_US = 60_000_000
NOW_US = AS_OF_US // TICK_US * TICK_US + 3_600_000_000
TTL_S = 40.0
SNAPSHOT = drawn_snapshot()
STORED = stored_user()


@pytest.fixture(scope="module", params=[False, True], ids=["heavy alone", "ensemble"])
def bundle(request):
    return drawn_bundle(SNAPSHOT, ensemble=request.param)


@pytest.fixture(scope="module")
def corpus(bundle) -> Corpus:
    return Corpus.build(SNAPSHOT, bundle, NOW_US, TICK_US)


class Counted:
    """The bundle, and how many candidates it was asked to rank."""

    def __init__(self, bundle) -> None:
        self.bundle, self.asked, self.predicts_alike = bundle, 0, bundle.predicts_alike

    def encode(self, rows):
        return self.bundle.encode(rows)

    def predict(self, rows, looked_up, context):
        self.asked += len(rows)
        return self.bundle.predict(rows, looked_up, context)


class Lookups:
    def __init__(self) -> None:
        self.hits = self.misses = 0

    def __call__(self, hits: int, misses: int) -> None:
        self.hits, self.misses = self.hits + hits, self.misses + misses


def ask(contexts, ranker, corpus, at, *, now_us=NOW_US, stored=STORED, surface="for_you") -> np.ndarray:
    """Predictions of snapshot rows `at`, as the hydrators and the scorer make them."""
    asked = Query("r", stored.user_id, "for_you", surface, 20, now_us, corpus)
    context, at = contexts.of(stored, asked), np.asarray(at)
    posts = None if context.posts is None else context.posts.blocks
    rows = candidate_rows(context.user, corpus.snapshot, at, surface, context.moment_us, posts)
    return context.predict(ranker, rows, at)


def test_only_candidates_that_were_not_scored_are_and_the_scores_are_those_without_a_cache(bundle, corpus):
    contexts, ranker = RankingContexts(10, TTL_S, lookups := Lookups()), Counted(bundle)
    nothing_kept = RankingContexts(0, TTL_S)
    first = ask(contexts, ranker, corpus, range(0, 30))
    second = ask(contexts, ranker, corpus, [40, 7, 8, 9, 59, -1], now_us=NOW_US + 20_000_000)
    assert ranker.asked == 33
    assert (lookups.hits, lookups.misses) == (3, 33)
    np.testing.assert_array_equal(first, ask(nothing_kept, ranker, corpus, range(0, 30)))
    np.testing.assert_array_equal(second, ask(nothing_kept, ranker, corpus, [40, 7, 8, 9, 59, -1]))


@pytest.mark.parametrize(
    "change",
    [
        {"now_us": NOW_US + round(TTL_S * 1e6)},
        {"now_us": NOW_US - 1},
        {"surface": "tab_1"},
        {"stored": replace(STORED, exposures=STORED.exposures[: -len(STORED_COLUMNS)])},
        {"stored": replace(STORED, updated_at=STORED.updated_at + 1)},
        {"stored": replace(STORED, state=[*STORED.state[:-1], STORED.state[-1] + 1])},
        {"stored": replace(STORED, user_id=6)},
    ],
    ids=["too old", "earlier", "surface", "history", "updated_at", "state", "user"],
)
def test_whatever_of_the_context_changes_nothing_is_used_again(bundle, corpus, change):
    contexts, ranker = RankingContexts(10, TTL_S), Counted(bundle)
    earlier = replace(corpus, posts=bundle.prepare(SNAPSHOT, NOW_US - TICK_US), tick_us=TICK_US)
    ask(contexts, ranker, earlier, range(30))
    ask(contexts, ranker, earlier, range(30), **change)
    assert ranker.asked == 60


def test_a_new_tick_and_a_new_snapshot_are_new_contexts_but_added_posts_are_not(bundle, corpus):
    contexts, ranker = RankingContexts(10, TTL_S), Counted(bundle)
    ask(contexts, ranker, corpus, range(30))
    added = Corpus.build(SNAPSHOT, bundle, NOW_US, TICK_US).with_posts(drawn_snapshot(5, 9, first_id=5_000), bundle)
    ask(contexts, ranker, added, [*range(30), 61])
    assert ranker.asked == 31
    ask(contexts, ranker, corpus.at(NOW_US + TICK_US, bundle), range(30), now_us=NOW_US + TICK_US)
    assert ranker.asked == 61
    newer = replace(SNAPSHOT, version="newer")
    ask(contexts, ranker, Corpus.build(newer, bundle, NOW_US, TICK_US), range(30))
    assert ranker.asked == 91


def test_a_request_of_another_time_is_ranked_as_of_its_own_moment_and_not_remembered(bundle, corpus):
    contexts, ranker = RankingContexts(10, TTL_S), Counted(bundle)
    then = AS_OF_US + 1
    found = ask(contexts, ranker, corpus, range(30), now_us=then)
    dense = bundle.predict(candidate_rows(STORED.at(then), SNAPSHOT, np.arange(30), "for_you", then))
    np.testing.assert_array_equal(found, dense)
    assert len(contexts) == 0


def test_the_users_who_asked_last_are_kept(bundle, corpus):
    contexts, ranker = RankingContexts(2, TTL_S), Counted(bundle)
    for user_id in (1, 2, 1, 3, 1, 2):
        ask(contexts, ranker, corpus, range(10), stored=replace(STORED, user_id=user_id))
    assert len(contexts) == 2
    assert ranker.asked == 40  # user 2 had made way for user 3


def test_one_users_scores_stay_bounded(bundle, corpus, monkeypatch):
    monkeypatch.setattr("services.mixer.remembered_scores.MOST_POSTS", 20)
    contexts = RankingContexts(2, TTL_S)
    whole = ask(RankingContexts(0, 0), bundle, corpus, range(60))
    remembered = contexts.of(STORED, Query("r", STORED.user_id, "for_you", "for_you", 20, NOW_US, corpus)).remembered
    for start in (0, 15, 5, 30):
        np.testing.assert_array_equal(ask(contexts, bundle, corpus, range(start, start + 15)), whole[start : start + 15])
        assert 0 < len(remembered) <= 20


def test_requests_side_by_side_get_the_scores_of_requests_alone(bundle, corpus):
    contexts, random = RankingContexts(3, TTL_S), np.random.default_rng(0)
    expected = {user: ask(RankingContexts(0, 0), bundle, corpus, range(60), stored=_of(user)) for user in range(5)}
    asked = [(int(random.integers(5)), random.integers(0, 60, 12)) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: ask(contexts, bundle, corpus, one[1], stored=_of(one[0])), asked))
    for (user, at), found in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(found, expected[user][at])


def _of(user: int):
    return stored_user(user_id=user, seed=user + 20)
