"""The corpus and its moment: whom the prepared posts serve, and what posts that are added change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.mixer.corpus import Corpus
from services.mixer.sources.two_tower import TwoTowerSource
from tests.unit.mixer.posts import NOW_US, TICK_US, FixedVectors, query, snapshot, user

ASKED_US = NOW_US + TICK_US // 3


def corpus() -> Corpus:
    return Corpus.build(snapshot([1, 2, 1]), FixedVectors(), ASKED_US, TICK_US)


def later(author: int = 2, post_id: int = 5):
    """One post that is newer and more popular than all others."""
    one = snapshot([author], popularity=[99.0], ages_h=[-1])
    return replace(one, post_id=np.array([post_id]))


def test_posts_are_prepared_for_the_tick_that_holds_the_moment():
    made = corpus()
    assert made.posts.moment_us == ASKED_US // TICK_US * TICK_US
    assert made.at(made.posts.moment_us + TICK_US - 1, FixedVectors()) is made
    moved = made.at(made.posts.moment_us + TICK_US, FixedVectors())
    assert moved.posts.moment_us == made.posts.moment_us + TICK_US
    assert moved.index is made.index


def test_prepared_posts_serve_their_tick_and_the_next_while_that_is_being_prepared():
    made = corpus()
    begin = made.posts.moment_us
    assert made.posts_for(begin) is made.posts_for(begin + 2 * TICK_US - 1) is made.posts
    assert made.posts_for(begin - 1) is made.posts_for(begin + 2 * TICK_US) is None


def test_an_added_post_stands_in_every_order_and_the_older_corpus_is_as_it_was():
    before = corpus()
    after = before.with_posts(later(), FixedVectors())
    assert after.by_popularity.tolist() == [3, 0, 1, 2]
    assert after.rows_by_authors(np.array([2])).tolist() == [3, 1]
    assert (len(after.snapshot), len(after.posts), len(after.index)) == (4, 5, 4)
    assert (len(before.snapshot), len(before.posts), before.by_popularity.tolist()) == (3, 4, [0, 1, 2])
    assert after.version == before.version


def test_a_request_with_the_older_corpus_does_not_meet_posts_that_it_does_not_hold():
    before = corpus()
    after = before.with_posts(later(), FixedVectors())
    source, asked = TwoTowerSource(FixedVectors(), limit=10), {"user": user()}
    assert source.fetch(query(features=asked, corpus=before)).post_id.tolist() == [20, 10, 0]
    assert sorted(source.fetch(query(features=asked, corpus=after)).post_id.tolist()) == [0, 5, 10, 20]
