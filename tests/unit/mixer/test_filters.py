"""Each filter removes what its rule names, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from services.mixer.author_allowance import author_allowance
from services.mixer.filters.author_cap import AuthorCapFilter
from services.mixer.filters.blocked_authors import BlockedAuthorsFilter
from services.mixer.filters.duplicates import DuplicatesFilter
from services.mixer.filters.known_posts import KnownPostsFilter
from services.mixer.filters.light_cut import LightCutFilter
from services.mixer.filters.muted_authors import MutedAuthorsFilter
from services.mixer.filters.own_posts import OwnPostsFilter
from services.mixer.filters.seen_posts import SeenPostsFilter
from services.mixer.filters.unpublished_posts import UnpublishedPostsFilter
from services.mixer.knobs import Knobs
from services.mixer.query import MissingFeature
from tests.unit.mixer.posts import NOW_US, candidates, query, user


def kept(rule, asked, among) -> list[int]:
    return among.post_id[rule.keep(asked, among)].tolist()


def test_duplicates_keeps_the_first_proposal():
    among = candidates([5, 3, 5, 3, 4], authors=[1, 2, 1, 2, 3])
    assert DuplicatesFilter().keep(query(), among).tolist() == [True, True, False, False, True]


def test_own_posts_removes_the_users_own():
    assert kept(OwnPostsFilter(), query(user_id=7), candidates([1, 2, 3], authors=[7, 8, 7])) == [2]


def test_known_posts_removes_what_the_snapshot_lacks():
    assert kept(KnownPostsFilter(), query(), candidates([1, 2, 3], snapshot_row=[0, -1, 4])) == [1, 3]


def test_unpublished_posts_removes_what_is_newer_than_the_request():
    times = [NOW_US - 1, NOW_US, NOW_US + 1]
    assert kept(UnpublishedPostsFilter(), query(), candidates([1, 2, 3], created_at_us=times)) == [1, 2]


def test_seen_posts_believes_the_client_and_the_history():
    asked = query(seen_ids=np.array([2]), features={"user": user(seen=[4])})
    assert kept(SeenPostsFilter(), asked, candidates([1, 2, 3, 4])) == [1, 3]


def test_seen_posts_believes_the_client_when_the_history_is_unknown():
    assert kept(SeenPostsFilter(), query(seen_ids=np.array([2])), candidates([1, 2, 3])) == [1, 3]


@pytest.mark.parametrize(("rule", "feature"), [(MutedAuthorsFilter(), "muted"), (BlockedAuthorsFilter(), "blocked")])
def test_safety_filters_remove_their_authors_and_refuse_to_guess(rule, feature):
    among = candidates([1, 2, 3], authors=[10, 20, 10])
    assert kept(rule, query(features={feature: np.array([10])}), among) == [2]
    assert kept(rule, query(features={feature: np.array([], np.int64)}), among) == [1, 2, 3]
    with pytest.raises(MissingFeature, match=feature):
        rule.keep(query(), among)
    assert rule.on_failure == "closed"


def test_light_cut_keeps_the_best_scores_and_the_earlier_of_equals():
    among = candidates([1, 2, 3, 4], score=[0.5, 0.9, 0.5, 0.1])
    assert kept(LightCutFilter(), query(knobs=Knobs.model_construct(ranked=2)), among) == [1, 2]
    assert kept(LightCutFilter(), query(), among) == [1, 2, 3, 4]


def test_author_cap_lets_an_author_have_three_posts_of_a_short_page_and_a_share_of_a_long_one():
    authors = [1] * 8 + [2, 2] + list(range(3, 40))
    posts = list(range(len(authors)))
    short = candidates(posts, authors=authors, author_allowance=[author_allowance(np.array(authors), 10, 0.15)] * len(authors))
    assert kept(AuthorCapFilter(), query(count=10), short)[:5] == [0, 1, 2, 8, 9]
    long = candidates(posts, authors=authors, author_allowance=[author_allowance(np.array(authors), 40, 0.15)] * len(authors))
    assert kept(AuthorCapFilter(), query(count=40), long)[:8] == [0, 1, 2, 3, 4, 5, 8, 9]


@pytest.mark.parametrize(
    ("authors", "count", "allowed"),
    [([1] * 30, 20, 20), ([1] * 30 + [2] * 4, 20, 16), ([1, 2] * 15, 20, 10), ([1] * 8, 20, 8), (list(range(30)), 20, 3)],
)
def test_the_author_cap_yields_where_too_few_authors_are_there_to_fill_the_page(authors, count, allowed):
    assert author_allowance(np.array(authors), count, 0.15) == allowed


def test_a_user_who_has_seen_every_candidate_is_shown_them_again_but_not_what_the_client_names():
    asked = query(seen_ids=np.array([2]), features={"user": user(seen=[1, 2, 3])})
    assert kept(SeenPostsFilter(), asked, candidates([1, 2, 3])) == [1, 3]
