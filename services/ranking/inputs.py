"""FeatureRows as the integer rows and normalised blocks that the networks read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from feature_repo.feature_rows import HISTORY_LENGTH, FeatureRows, History
from feature_repo.heads import HEADS
from services.ranking.id_hashing import hash_ids
from services.ranking.normalise import Normaliser

# Age buckets of a history entry: powers of two of minutes (0 .. 2^14 min = 11 days and more), then "only the order is
# known", then padding.
AGE_BUCKETS = 15
AGE_UNKNOWN = AGE_BUCKETS
AGE_PADDING = AGE_BUCKETS + 1
AGE_ROWS = AGE_BUCKETS + 2

# Dwell buckets: nothing known, then half-powers of two of seconds up to the cap of 300.
DWELL_ROWS = 19

# What a heavy ranker answers: a logit by action, and last the log1p of the seconds that the post will be watched or read.
OUTPUTS = len(HEADS) + 1
DWELL = len(HEADS)

# Surfaces that a model tells apart, the most frequent of its training rows; row 0 is for none, the last for any other.
MOST_SURFACES = 63
PRODUCT_ROWS = MOST_SURFACES + 2
OTHER_SURFACE = PRODUCT_ROWS - 1


@dataclass(frozen=True)
class TableBits:
    """How ids become embedding rows: log2 of the rows of each hashed table, and the surfaces' codes, ascending."""

    post: int = 14
    author: int = 14
    topic: int = 8
    surfaces: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "surfaces", tuple(self.surfaces))  # JSON has lists


@dataclass(frozen=True)
class HistoryTensors:
    """Histories of c users: integer tensors (c, HISTORY_LENGTH), oldest first, padding in front."""

    post: torch.Tensor  # int32 embedding rows
    author: torch.Tensor
    topic: torch.Tensor
    actions: torch.Tensor  # int64 bit masks in the order of HEADS
    product: torch.Tensor  # int32, PRODUCT_ROWS
    age: torch.Tensor  # int32, AGE_ROWS: since the exposure
    gap: torch.Tensor  # int32, AGE_ROWS: from the exposure before to this one
    dwell: torch.Tensor  # int32, DWELL_ROWS: how long it was watched or read

    def __len__(self) -> int:
        return len(self.post)

    @property
    def padding(self) -> torch.Tensor:
        """bool (c, HISTORY_LENGTH): true where there is no exposure."""
        return self.age == AGE_PADDING

    def rows(self, index: torch.Tensor) -> HistoryTensors:
        return HistoryTensors(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class RowTensors:
    """n candidates. `blocks` are normalised float32 (n, width); ids are int32 embedding rows (n,)."""

    post: torch.Tensor
    author: torch.Tensor
    topic: torch.Tensor
    product: torch.Tensor
    blocks: dict[str, torch.Tensor]
    history: HistoryTensors  # n histories, or one that all candidates share

    def __len__(self) -> int:
        return len(self.post)

    def rows(self, index: torch.Tensor) -> RowTensors:
        """The rows at `index`; needs a history per row."""
        return RowTensors(
            post=self.post[index],
            author=self.author[index],
            topic=self.topic[index],
            product=self.product[index],
            blocks={name: block[index] for name, block in self.blocks.items()},
            history=self.history.rows(index),
        )

    def select(self, index: torch.Tensor) -> RowTensors:
        """The rows at `index` to learn from; rows that are encoded when they are asked for select without reading."""
        return self.rows(index)


def history_tensors(history: History, bits: TableBits) -> HistoryTensors:
    """Encode histories (c, HISTORY_LENGTH)."""
    if history.post_id.shape[1:] != (HISTORY_LENGTH,):
        raise ValueError(f"history has shape {history.post_id.shape}; (n, {HISTORY_LENGTH}) is needed")
    absent = history.post_id < 0
    return HistoryTensors(
        post=torch.from_numpy(hash_ids(history.post_id, bits.post)),
        author=torch.from_numpy(hash_ids(np.where(absent, -1, history.author_id), bits.author)),
        topic=torch.from_numpy(hash_ids(np.where(absent, -1, history.topic), bits.topic)),
        actions=torch.from_numpy(np.where(absent, np.uint64(0), history.actions).astype(np.int64)),
        product=torch.from_numpy(product_rows(np.where(absent, -1, history.product), bits.surfaces)),
        age=torch.from_numpy(np.where(absent, AGE_PADDING, age_rows(history.age_s)).astype(np.int32)),
        gap=torch.from_numpy(np.where(absent, AGE_PADDING, gap_rows(history.age_s)).astype(np.int32)),
        dwell=torch.from_numpy(np.where(absent, 0, dwell_rows(history.dwell_s))),
    )


def action_flags(masks: torch.Tensor) -> torch.Tensor:
    """float32 (..., len(HEADS)) of int64 bit masks (...)."""
    return (masks.unsqueeze(-1) >> torch.arange(len(HEADS), device=masks.device) & 1).float()


def age_rows(age_s: np.ndarray) -> np.ndarray:
    """Buckets of ages in seconds, int32 of the same shape; NaN, where only the order is known, is AGE_UNKNOWN."""
    bucket = np.log2(1.0 + np.maximum(np.nan_to_num(age_s, nan=0.0), 0.0) / 60.0).astype(np.int32)
    return np.where(np.isnan(age_s), AGE_UNKNOWN, np.minimum(bucket, AGE_BUCKETS - 1)).astype(np.int32)


def dwell_rows(dwell_s: np.ndarray) -> np.ndarray:
    """Buckets of seconds watched, int32 of the same shape; 0 where nothing is known of it."""
    bucket = 1 + (2.0 * np.log2(1.0 + dwell_s)).astype(np.int32)
    return np.where(dwell_s > 0, np.minimum(bucket, DWELL_ROWS - 1), 0).astype(np.int32)


def gap_rows(age_s: np.ndarray) -> np.ndarray:
    """Buckets of the time from each exposure before to the exposure itself, int32 (c, L); unknown for the first ones."""
    gap_s = np.full_like(age_s, np.nan)
    gap_s[:, 1:] = age_s[:, :-1] - age_s[:, 1:]
    return age_rows(gap_s)


def known_surfaces(product: np.ndarray) -> tuple[int, ...]:
    """The surfaces that a model of rows with these codes, int (n,), tells apart: the most frequent MOST_SURFACES, ascending."""
    codes, counts = np.unique(product[product >= 0], return_counts=True)
    return tuple(sorted(codes[np.argsort(-counts, kind="stable")[:MOST_SURFACES]].tolist()))


def product_rows(product: np.ndarray, surfaces: Sequence[int]) -> np.ndarray:
    """Embedding rows of surface codes, int32 of their shape: 0 for none, OTHER_SURFACE for one that is not in `surfaces`."""
    if not len(surfaces):
        return np.where(product < 0, 0, OTHER_SURFACE).astype(np.int32)
    known = np.asarray(surfaces)
    place = np.searchsorted(known, product).clip(max=len(known) - 1)
    return np.where(known[place] == product, 1 + place, np.where(product < 0, 0, OTHER_SURFACE)).astype(np.int32)


def row_tensors(rows: FeatureRows, normaliser: Normaliser, bits: TableBits) -> RowTensors:
    """Encode rows for a network whose blocks `normaliser` was fitted on."""
    return RowTensors(
        post=torch.from_numpy(hash_ids(rows.post_id, bits.post)),
        author=torch.from_numpy(hash_ids(rows.author_id, bits.author)),
        topic=torch.from_numpy(hash_ids(rows.topic, bits.topic)),
        product=torch.from_numpy(product_rows(rows.product, bits.surfaces)),
        blocks={name: tensor(normaliser.apply(name, rows.blocks[name])) for name in normaliser.widths},
        history=history_tensors(rows.history, bits),
    )


def tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor over `array`; one that is broadcast from a single row (stride 0) stays one row, expanded."""
    if len(array) > 1 and array.strides[0] == 0:
        return torch.from_numpy(array[:1].copy()).expand(len(array), -1)
    return torch.from_numpy(array)
