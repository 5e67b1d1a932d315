"""Laws of the retrieval indexes: what is found, in which order, and how changes show."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.ranking.retrieval_index import (
    EXACT_BELOW,
    ApproximateIndex,
    ExactIndex,
    VectorsError,
    build_index,
)

WIDTH = 17


def clustered(posts: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Posts around 50 centres, of different lengths, with a bias in the last coordinate; queries end in 1."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(50, WIDTH - 1))
    vectors = centres[random.integers(50, size=posts)] + 0.6 * random.normal(size=(posts, WIDTH - 1))
    asked = centres[random.integers(50, size=queries)] + 0.8 * random.normal(size=(queries, WIDTH - 1))
    bias = random.normal(size=(posts, 1))
    return np.hstack([vectors, bias]).astype(np.float32), np.hstack([asked, np.ones((queries, 1))]).astype(np.float32)


whole = st.integers(-50, 50).map(float)  # products of whole numbers are exact, in whatever order they are summed


@given(st.integers(0, 40).flatmap(lambda n: arrays(np.float32, (n, 3), elements=whole)), arrays(np.float32, 3, elements=whole))
def test_exact_products_are_those_of_a_full_sort(vectors, query):
    products = vectors @ query
    for limit in (0, 1, 7, 100):
        found = ExactIndex(np.arange(len(vectors)), vectors).search(query, limit)
        assert len(set(found.tolist())) == len(found) == min(limit, len(vectors))
        assert products[found].tolist() == np.sort(products)[::-1][:limit].tolist()


def test_approximate_finds_95_of_100():
    vectors, queries = clustered(20_000, 40)
    exact, approximate = (make(np.arange(20_000), vectors) for make in (ExactIndex, ApproximateIndex))
    shares = [np.isin(approximate.search(query, 100), exact.search(query, 100)).mean() for query in queries]
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("make", [ExactIndex, ApproximateIndex])
def test_added_posts_are_found_replaced_ones_move_and_removed_ones_are_gone(make):
    vectors, queries = clustered(3_000, 1)
    query = queries[0]
    index = make(np.arange(3_000), vectors)
    index.add(np.array([9_000]), 10 * query[None])
    assert index.search(query, 5)[0] == 9_000
    assert len(index) == 3_001
    index.add(np.array([9_000]), -10 * query[None])
    assert len(index) == 3_001
    assert 9_000 not in index.search(query, 500)
    assert index.search(-query, 1).tolist() == [9_000]
    index.remove(np.array([9_000, 123_456]))
    assert len(index) == 3_000
    assert 9_000 not in index.search(-query, 3_000)


@pytest.mark.parametrize("make", [ExactIndex, ApproximateIndex])
def test_searches_beside_a_thread_that_adds_are_never_short_doubled_or_late(make):
    vectors, queries = clustered(3_000, 8)
    index, wrong = make(np.arange(2_000), vectors[:2_000]), []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                for query in queries:
                    found = index.search(query, 20)
                    if len(set(found.tolist())) != 20:
                        wrong.append(found)
        except Exception as error:  # a thread's error would go unseen
            wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for key in range(2_000, 2_300):
        index.add(np.array([key]), 100 * (key - 1_999) * queries[:1])
        assert index.search(queries[0], 1).tolist() == [key]
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(index) == 2_300


def test_auto_is_exact_for_few_posts_and_approximate_for_many():
    few, many = np.ones((3, 2), np.float32), np.random.default_rng(1).normal(size=(EXACT_BELOW, 2)).astype(np.float32)
    assert isinstance(build_index(np.arange(3), few), ExactIndex)
    assert isinstance(build_index(np.arange(EXACT_BELOW), many), ApproximateIndex)
    assert isinstance(build_index(np.arange(3), few, "approximate"), ApproximateIndex)
    assert isinstance(build_index(np.arange(0), few[:0], "approximate"), ExactIndex)


@pytest.mark.parametrize("make", [ExactIndex, ApproximateIndex])
def test_odd_vectors_are_refused_by_name(make):
    good = np.ones((2, 3), np.float32)
    for keys, vectors, message in (
        ([1, 1], good, "occur twice"),
        ([-4, 1], good, "key -4 is negative"),
        ([1], good, r"\(2, 3\)"),
        ([1, 2], good * np.nan, "first of key 1"),
    ):
        with pytest.raises(VectorsError, match=message):
            make(np.array(keys), vectors)
    with pytest.raises(VectorsError, match=r"\(3,\) is needed"):
        make(np.array([1, 2]), good).search(np.ones(4, np.float32), 1)
