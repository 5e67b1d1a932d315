"""What posts hold as vectors: near where they are alike, without a single event, the same in every process."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.content import WORD_WIDTH, Content
from tests.contract_rows import contract_rows

ROWS = contract_rows()["posts"]
CATS, DOGS = "the cat purrs on a warm sofa", "the dog barks at a postman"


def posts(embeddings: list | None = None, texts: list | None = None, topics: list | None = None) -> pl.DataFrame:
    """A post for each entry."""
    n = len(embeddings or texts)
    return ROWS.head(n).with_columns(
        embedding=pl.Series(embeddings or [None] * n, dtype=pl.List(pl.Float32)),
        text=pl.Series(texts or [None] * n, dtype=pl.String),
        topics=pl.Series(topics or [[]] * n, dtype=pl.List(pl.Int32)),
    )


def cosines(content: Content) -> np.ndarray:
    return content.vectors @ content.vectors.T


def test_posts_that_hold_nothing_have_no_content():
    assert Content.of(posts(texts=[None, None], topics=[[1], [2]])) is None
    assert Content.of(ROWS.clear()) is None


def test_vectors_are_the_embeddings_at_length_one():
    content = Content.of(posts([[3.0, 4.0], None, [0.0, 1e30], [0.0, 0.0]]))
    np.testing.assert_allclose(content.vectors, [[0.6, 0.8], [0, 0], [0, 1], [0, 0]], atol=1e-6)
    assert content.embedding == 2
    assert content.rows_with().tolist() == [0, 2]


def test_posts_of_alike_words_are_near_and_those_of_others_are_not():
    near = cosines(Content.of(posts(texts=[CATS, "a warm cat, on the SOFA!", DOGS, "dog and postman", None])))
    assert near[0, 1] > 0.5
    assert near[2, 3] > 0.4
    assert max(near[0, 2], near[0, 3], near[1, 2], near[1, 3]) < 0.3
    assert (near[4] == 0).all()


def test_every_topic_of_a_post_counts_where_words_do():
    near = cosines(Content.of(posts(texts=["x", "y", "z"], topics=[[1, 2, 3], [9, 3, 2], [4, 5, 6]])))
    assert near[0, 1] > near[0, 2] + 0.2


def test_scripts_without_spaces_are_read_by_character():
    near = cosines(Content.of(posts(texts=["猫在沙发上睡觉", "沙发上的猫", "股票市场今天下跌"])))
    assert near[0, 1] > near[0, 2] + 0.3


def test_words_and_embeddings_do_not_meet():
    content = Content.of(posts([[1.0, 0.0], None, None], [CATS, CATS, DOGS]))
    assert content.vectors.shape == (3, 2 + WORD_WIDTH)
    assert (cosines(content)[0, 1:] == 0).all()
    assert (content.vectors[0, 2:] == 0).all()


def test_later_posts_get_the_coordinates_of_the_first_and_odd_embeddings_none():
    content = Content.of(posts([[1.0, 0.0], [0.0, 1.0], None], [None, None, CATS]))
    more = content.of_more(posts([[2.0, 0.0], [1.0, 2.0, 3.0], None], [None, None, CATS]))
    np.testing.assert_allclose(more.vectors[0], content.vectors[0])
    assert not more.vectors[1].any()
    np.testing.assert_allclose(more.vectors[2], content.vectors[2], atol=1e-6)
    grown = content.with_posts(more, 3).with_posts(None, 2)
    assert grown.rows_with().tolist() == [0, 1, 2, 3, 5]
    assert len(grown.vectors) == 8


def test_a_word_has_the_same_coordinates_for_ever():
    """Golden values: fresh posts are compared with what another process, or an older version, published."""
    vector = Content.of(posts(texts=["cat"])).vectors[0]
    assert {int(place): float(vector[place]) for place in np.flatnonzero(vector)} == {29: 0.5, 44: -0.5, 93: 0.5, 123: -0.5}
