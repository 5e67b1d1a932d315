"""A request of random weights and features, as the mixer asks the compiled heavy ranker: what the ranker's bench times."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from feature_repo.blocks import BLOCK_NAMES
from feature_repo.feature_rows import MODEL_BLOCKS
from feature_repo.heads import HEADS
from services.ranking.collaborative import POST_VECTOR, USER_VECTOR, VECTOR_MATCH, VIEWS
from services.ranking.collaborative import WIDTH as VECTOR_WIDTH
from services.ranking.compiled import MATCH_BLOCKS, POST_BLOCKS, REQUEST_BLOCKS
from services.ranking.heavy import HeavyConfig
from services.ranking.inputs import AGE_BUCKETS, DWELL_ROWS, OUTPUTS, HistoryTensors, RowTensors, TableBits
from services.ranking.members import CompiledMembers, Heavy

VECTOR = len(VIEWS) * VECTOR_WIDTH
WIDTHS = {
    **{name: len(columns) for name, columns in BLOCK_NAMES.items()},
    **{USER_VECTOR: VECTOR, POST_VECTOR: VECTOR, VECTOR_MATCH: len(VIEWS)},
}
ALONE = 20  # candidates that are scored by themselves too


class RankerRequest:
    """One user with a full history and `candidates` random ones of `posts` posts, whose projections are made before.

    `warm`: the user's context is encoded and packed already; `cold`: the request does that too. Both give logits, float32
    (candidates, OUTPUTS), and in both every candidate's columns that are of this user and this post go through the first
    layer. `posts_projected_per_s`: how fast the posts were.
    """

    def __init__(self, heavy: Heavy, candidates: int, posts: int, threads: int) -> None:
        self.compiled = CompiledMembers(heavy, threads=threads)
        catalogue = random_rows(posts, heavy.config.history)
        self.row = np.random.default_rng(1).integers(0, posts, candidates)
        self.rows = _taken(catalogue, torch.from_numpy(self.row))
        start = time.perf_counter()
        blocks = {name: catalogue.blocks[name] for name in POST_BLOCKS}
        self._projected = self.compiled.project(blocks, catalogue.post, catalogue.author, catalogue.topic)
        self.posts_projected_per_s = round(posts / (time.perf_counter() - start))
        self._prepared = self.compiled.request(self.rows)

    def warm(self) -> np.ndarray:
        return self._logits(self._prepared)

    def cold(self) -> np.ndarray:
        return self._logits(self.compiled.request(self.rows))

    def _logits(self, request: tuple) -> np.ndarray:
        return self.compiled.logits(request, self._projected, self.compiled.matches(self.rows.blocks), self.row)

    def alone_differs(self) -> float:
        """Largest difference between a candidate's logits alone and among all others, over some candidates."""
        matches = self.compiled.matches(self.rows.blocks)
        chosen = np.linspace(0, len(self.row) - 1, min(ALONE, len(self.row))).astype(int)
        alone = [
            self.compiled.logits(self._prepared, self._projected, matches[at : at + 1], self.row[at : at + 1])[0]
            for at in chosen
        ]
        return float(np.abs(np.stack(alone) - self.warm()[chosen]).max())


def multiplications(config: HeavyConfig) -> int:
    """Multiply-adds of the matrix products that one candidate of a warm request needs; padding is not counted."""
    d, tokens = config.d, config.history + 1
    layer = 4 * d * d + 2 * d * config.ffn + 2 * d * (tokens + 1)
    matched = sum(config.widths[name] for name in MATCH_BLOCKS)
    ends = matched * config.hidden + config.hidden * d + (d + config.hidden) * config.ffn + config.ffn * OUTPUTS
    return config.layers * layer + ends


def random_rows(count: int, length: int) -> RowTensors:
    """Normalised random rows under one full history of `length` exposures."""
    bits = TableBits()
    blocks = {name: torch.randn(count, WIDTHS[name]).clamp(-5, 5) for name in MODEL_BLOCKS}
    for name in REQUEST_BLOCKS:
        blocks[name] = blocks[name][:1].expand(count, -1)
    history = HistoryTensors(
        post=_integers(1 << bits.post, 1, length),
        author=_integers(1 << bits.author, 1, length),
        topic=_integers(1 << bits.topic, 1, length),
        actions=_integers(1 << len(HEADS), 1, length).long(),
        product=_integers(15, 1, length),
        age=_integers(AGE_BUCKETS, 1, length),
        gap=_integers(AGE_BUCKETS, 1, length),
        dwell=_integers(DWELL_ROWS, 1, length),
    )
    ids = (_integers(1 << size, count) for size in (bits.post, bits.author, bits.topic))
    return RowTensors(*ids, product=torch.ones(count, dtype=torch.int32), blocks=blocks, history=history)


def _integers(below: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, below, shape, dtype=torch.int32)


def _taken(rows: RowTensors, index: torch.Tensor) -> RowTensors:
    blocks = {
        name: block[:1].expand(len(index), -1) if name in REQUEST_BLOCKS else block[index]
        for name, block in rows.blocks.items()
    }
    ids = {name: getattr(rows, name)[index] for name in ("post", "author", "topic", "product")}
    return replace(rows, blocks=blocks, **ids)
