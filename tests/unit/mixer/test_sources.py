"""Each source proposes the right posts in the right order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.mixer.social_graph import Targets
from services.mixer.sources.given_posts import GivenPostsSource
from services.mixer.sources.in_network import InNetworkSource
from services.mixer.sources.popular import PopularSource
from services.mixer.sources.two_tower import TwoTowerSource
from tests.unit.mixer.posts import FixedVectors, query, snapshot, user


def following(*authors: int) -> dict:
    return {"following": Targets(np.array(authors, np.int64), np.zeros(len(authors), bool))}


def test_in_network_proposes_published_posts_of_followed_authors_newest_first():
    posts = snapshot([1, 2, 1, 3, 1], ages_h=[5, 1, 2, 3, -1])
    proposed = InNetworkSource().fetch(query(posts, following(1, 3, 99)))
    assert proposed.post_id.tolist() == [20, 30, 0]
    assert proposed.author_id.tolist() == [1, 3, 1]


def test_in_network_stops_at_its_limit():
    assert InNetworkSource(limit=2).fetch(query(snapshot([1] * 5), following(1))).post_id.tolist() == [0, 10]


def test_in_network_proposes_nothing_to_who_follows_nobody():
    assert len(InNetworkSource().fetch(query(snapshot([1, 2]), following()))) == 0


def test_two_tower_proposes_the_largest_dot_products_first():
    proposed = TwoTowerSource(FixedVectors(), limit=3).fetch(query(snapshot([1, 2, 3, 4, 5]), {"user": user()}))
    assert proposed.post_id.tolist() == [40, 30, 20]


def test_two_tower_copes_with_fewer_posts_than_its_limit():
    assert len(TwoTowerSource(FixedVectors(), limit=400).fetch(query(snapshot([1, 2]), {"user": user()}))) == 2
    assert len(TwoTowerSource(FixedVectors()).fetch(query(snapshot([]), {"user": user()}))) == 0


def test_popular_proposes_the_most_popular_first():
    posts = snapshot([1, 2, 3, 4], popularity=[0.1, 0.9, 0.5, 0.7])
    assert PopularSource(limit=3).fetch(query(posts)).post_id.tolist() == [10, 30, 20]


def test_given_posts_are_proposed_as_they_are_and_unknown_ones_have_no_author():
    proposed = GivenPostsSource().fetch(query(snapshot([5, 6]), {"given_posts": np.array([10, 777, 0])}))
    assert proposed.post_id.tolist() == [10, 777, 0]
    assert proposed.author_id.tolist() == [6, -1, 5]


@given(st.lists(st.integers(0, 6), max_size=30), st.sets(st.integers(0, 9)))
def test_rows_by_authors_is_every_row_of_every_asked_author(authors, asked):
    corpus = query(snapshot(authors)).corpus
    rows = corpus.rows_by_authors(np.array(sorted(asked), np.int64))
    assert sorted(rows.tolist()) == [row for row, author in enumerate(authors) if author in asked]
