"""Draws are functions of (seed, stream, ids): no order, no batch and no neighbour moves them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.draws import Stream, philox, uniforms
from feature_repo.datasets.world.people import People, people
from feature_repo.datasets.world.posts import Posts, posts

CONFIG = WorldConfig(users=300, posts=500, days=6)
ids = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30)


@cache
def every_post() -> Posts:
    return posts(CONFIG, np.arange(CONFIG.posts))


@cache
def every_person() -> People:
    return people(CONFIG.seed, np.arange(CONFIG.users))


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        # Known answers of the Random123 library (kat_vectors, philox4x32 10).
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    words = np.array([[int(word, 16) for word in counter.split()]], np.uint32)
    first, second = (int(word, 16) for word in key.split())
    assert [f"{word:08x}" for word in philox(words, (first, second))[0]] == answer.split()


@settings(deadline=None)
@given(ids, st.integers(0, 2**63 - 1), st.sampled_from(list(Stream)))
def test_a_draw_does_not_depend_on_its_batch(rows: list[int], seed: int, stream: Stream) -> None:
    together = uniforms(seed, stream, rows)
    alone = np.concatenate([uniforms(seed, stream, row) for row in rows])
    assert np.array_equal(together, alone)
    assert ((together > 0) & (together < 1)).all()


def test_draws_are_uniform_and_those_of_two_streams_or_seeds_do_not_go_together() -> None:
    rows = np.arange(20_000)
    first = uniforms(1, Stream.POST, rows)
    counts = np.histogram(first, bins=50, range=(0, 1))[0]
    expected = first.size / 50
    assert ((counts - expected) ** 2 / expected).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001
    others = [uniforms(1, Stream.PERSON, rows)[:, 0], uniforms(2, Stream.POST, rows)[:, 0], first[:, 1]]
    for other in others:
        assert abs(np.corrcoef(first[:, 0], other)[0, 1]) < 0.03


def test_ids_that_do_not_fit_a_counter_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 2\\*\\*32 - 1, got 0 to 4294967296"):
        uniforms(1, Stream.POST, [0, 2**32])


@settings(deadline=None)
@given(st.lists(st.integers(0, CONFIG.posts - 1), min_size=1, max_size=20))
def test_any_worker_draws_the_same_posts(chosen: list[int]) -> None:
    every, some = every_post(), posts(CONFIG, np.array(chosen))
    for name in every.__dataclass_fields__:
        assert np.array_equal(getattr(every, name)[chosen], getattr(some, name)), name


@settings(deadline=None)
@given(st.lists(st.integers(0, CONFIG.users - 1), min_size=1, max_size=20))
def test_any_worker_draws_the_same_people(chosen: list[int]) -> None:
    every, some = every_person(), people(CONFIG.seed, np.array(chosen))
    for name in every.__dataclass_fields__:
        assert np.array_equal(getattr(every, name)[chosen], getattr(some, name)), name
