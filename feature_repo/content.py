"""What posts themselves hold as vectors: the embedding that their owner gives, else their words and topics.

A post needs no event to have such a vector, so a fresh one can be found by it. An embedding and a bag of words can't be
compared, so each has coordinates of its own: those of the embedding first, then WORD_WIDTH for words. Words are hashed: a word
stands for the same coordinates in every process and for ever, and a new word needs no entry anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import structlog

WORD_WIDTH = 128  # coordinates of words
SPREAD = 4  # coordinates that one word changes, each up or down: chance products of two words stay small
BUCKETS = 1 << 16  # of word weights
COUNTED_POSTS = 50_000  # that word weights are counted on, spread evenly; more change little
PIECE = 50_000  # posts whose words are in memory at once
# Scripts without spaces between words are read by character.
_WORDS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[^\s\p{P}\p{S}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]+"

log = structlog.get_logger("content")


@dataclass(frozen=True)
class Content:
    """Vectors of n posts, float32 (n, embedding + WORD_WIDTH or 0), each of length 1; all zeros of a post that holds nothing.

    embedding: numbers in an embedding, 0 where no post has one; word_weights: float32 (BUCKETS,), rarer words weigh more, or
    (0,) where words are not read.
    """

    vectors: np.ndarray
    embedding: int
    word_weights: np.ndarray

    @staticmethod
    def of(posts: pl.DataFrame) -> Content | None:
        """Content of `posts` (contract rows); None where no post has an embedding or a text.

        Words are read of posts without an embedding, where one of these has a text. Topics alone make no vectors: all posts of
        a topic would have the same.
        """
        lengths = posts["embedding"].list.len().drop_nulls()
        embedding = int(lengths.mode().max()) if lengths.len() else 0
        texts = posts.filter(_without(embedding) & pl.col("text").is_not_null()).height > 0
        if not embedding and not texts:
            return None
        weights = _word_weights(posts.filter(_without(embedding))) if texts else np.empty(0, np.float32)
        return Content(np.empty((0, embedding + WORD_WIDTH * texts), np.float32), embedding, weights).of_more(posts)

    def of_more(self, posts: pl.DataFrame) -> Content:
        """Content of other posts (contract rows) with the same coordinates and weights."""
        vectors = np.zeros((posts.height, self.vectors.shape[1]), np.float32)
        given = posts.select(~_without(self.embedding)).to_series().to_numpy()
        if given.any():
            numbers = posts["embedding"].filter(given).explode().to_numpy().reshape(-1, self.embedding)
            # Divided by the largest first: the squares of large numbers have no place in float32.
            vectors[given, : self.embedding] = numbers / np.maximum(np.abs(numbers).max(1, keepdims=True), 1e-30)
        odd = int((posts["embedding"].is_not_null().to_numpy() & ~given).sum())
        if odd:
            log.warning("embeddings of another length are not used", posts=odd, length=self.embedding)
        if len(self.word_weights):
            rows = np.flatnonzero(~given)
            for piece in range(0, len(rows), PIECE):
                some = rows[piece : piece + PIECE]
                vectors[some, self.embedding :] = _word_vectors(posts[some], self.word_weights)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return replace(self, vectors=vectors / np.where(lengths > 0, lengths, 1.0))

    def with_posts(self, more: Content | None, count: int) -> Content:
        """This and the content of `count` more posts after it, None where they hold nothing."""
        vectors = np.zeros((count, self.vectors.shape[1]), np.float32) if more is None else more.vectors
        return replace(self, vectors=np.concatenate([self.vectors, vectors]))

    def rows_with(self) -> np.ndarray:
        """Rows, int64 ascending, of the posts that hold something."""
        return np.flatnonzero(self.vectors.any(axis=1))


def _without(embedding: int) -> pl.Expr:
    """Whether a post has no embedding of this length."""
    return (pl.col("embedding").list.len() != embedding).fill_null(True) | pl.lit(embedding == 0)


def _words(posts: pl.DataFrame) -> pl.DataFrame:
    """Columns row, word and times: each word of each post once. Topics of a post are words of it."""
    texts = posts["text"].fill_null("").str.to_lowercase().str.extract_all(_WORDS)
    topics = posts["topics"].cast(pl.List(pl.String)).list.eval(pl.lit("\0topic ") + pl.element())
    lists = pl.DataFrame({"row": pl.int_range(posts.height, eager=True), "text": texts, "topic": topics})
    words = pl.concat([lists.select("row", word=name).explode("word") for name in ("text", "topic")]).drop_nulls()
    return words.group_by("row", "word").agg(times=pl.len())


def _hashes(words: pl.Series) -> np.ndarray:
    """uint64 (n,) of distinct words, the same in every process and version."""
    parts = (hashlib.blake2b(word.encode(), digest_size=8).digest() for word in words)
    return np.frombuffer(b"".join(parts), "<u8")


def _coordinates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """SPREAD times: a coordinate of each word, int64 (n,), and whether it goes up or down, float32 (n,) of 1 and -1."""
    for place in range(SPREAD):
        bits = (hashes >> np.uint64(16 + 8 * place)).astype(np.int64) & 0xFF
        yield bits % WORD_WIDTH, np.where(bits >= WORD_WIDTH, np.float32(1), np.float32(-1))


def _word_weights(posts: pl.DataFrame) -> np.ndarray:
    """float32 (BUCKETS,): log of one more than the posts per post with a word of the bucket."""
    chosen = posts[np.unique(np.linspace(0, posts.height - 1, min(posts.height, COUNTED_POSTS)).astype(np.int64))]
    counted = _words(chosen)["word"].value_counts()
    holding = np.zeros(BUCKETS)
    np.add.at(holding, (_hashes(counted["word"]) % BUCKETS).astype(np.int64), counted["count"].to_numpy())
    return np.log1p(chosen.height / (1.0 + holding)).astype(np.float32)


def _word_vectors(posts: pl.DataFrame, weights: np.ndarray) -> np.ndarray:
    """float32 (n, WORD_WIDTH), of any length: the sum over the words of each post."""
    words = _words(posts).sort("row", "word")  # sums do not depend on the order in which words are grouped
    distinct = words["word"].unique(maintain_order=True)
    code = words["word"].replace_strict(distinct, pl.int_range(distinct.len(), eager=True)).to_numpy() if distinct.len() else []
    hashes = _hashes(distinct)
    weight = weights[(hashes % BUCKETS).astype(np.int64)][code] * np.log1p(words["times"].to_numpy())
    flat = np.zeros(posts.height * WORD_WIDTH)
    for coordinate, direction in _coordinates(hashes):
        place = words["row"].to_numpy() * WORD_WIDTH + coordinate[code]
        flat += np.bincount(place, weights=weight * direction[code], minlength=len(flat))
    return flat.reshape(-1, WORD_WIDTH).astype(np.float32)
