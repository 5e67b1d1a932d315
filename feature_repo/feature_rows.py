"""What a ranker reads: feature blocks by entity and the user's history, as plain arrays.

The same types carry training rows (n requests, one candidate each) and one request (one user, n candidates).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from feature_repo.heads import HEADS as HEADS

# The dense blocks that the feature platform knows.
BLOCKS = ("user", "post", "author", "topic", "user_author", "user_topic", "user_post", "context")
# What a bundle's own collaborative vectors add to a row (services/ranking/collaborative.py), where it has some.
LEARNED_BLOCKS = ("user_vector", "post_vector", "vector_match")
# The first layer of every model is a sum of per-block projections in this order.
MODEL_BLOCKS = (*BLOCKS, *LEARNED_BLOCKS)

HISTORY_LENGTH = 50  # newest exposures kept per user; short rows are padded at the front with post_id -1


@dataclass(frozen=True)
class History:
    """The newest exposures of n users, oldest first, strictly before the moment of use. Arrays are (n, HISTORY_LENGTH)."""

    post_id: np.ndarray  # int64, -1 = padding
    author_id: np.ndarray  # int64
    topic: np.ndarray  # int32, first topic, -1 = none
    actions: np.ndarray  # uint64 bit mask in the order of HEADS
    product: np.ndarray  # int32, surface code, -1 = padding
    age_s: np.ndarray  # float32, seconds before the moment of use; NaN where only the order is known
    # float32, seconds watched or read by then, in whole tenths and capped (see dwell.py); 0 where nothing was or none is known
    dwell_s: np.ndarray = None  # type: ignore[assignment]  # left out: nothing was watched

    def __post_init__(self) -> None:
        if self.dwell_s is None:
            object.__setattr__(self, "dwell_s", np.zeros(self.post_id.shape, np.float32))

    def __len__(self) -> int:
        return len(self.post_id)

    def rows(self, index: np.ndarray | slice) -> History:
        return History(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @staticmethod
    def empty(n: int) -> History:
        shape = (n, HISTORY_LENGTH)
        return History(
            post_id=np.full(shape, -1, np.int64),
            author_id=np.full(shape, -1, np.int64),
            topic=np.full(shape, -1, np.int32),
            actions=np.zeros(shape, np.uint64),
            product=np.full(shape, -1, np.int32),
            age_s=np.full(shape, np.nan, np.float32),
            dwell_s=np.zeros(shape, np.float32),
        )


@dataclass(frozen=True)
class UserFeatures:
    """One user at one moment: the packed dense user block and the history (each with n = 1)."""

    user_id: int
    user: np.ndarray  # float32 (1, width of the user block)
    history: History  # n = 1
    known: bool  # False: cold start, all values are the declared defaults
    updated_at_us: int = 0  # time of the newest event in the aggregates, 0 where there is none


@dataclass(frozen=True)
class FeatureRows:
    """n (user, candidate) rows. Blocks are float32 (n, width); ids are int64 (n,). History is per row or shared (n = 1)."""

    user_id: np.ndarray
    post_id: np.ndarray
    author_id: np.ndarray
    topic: np.ndarray  # int32
    product: np.ndarray  # int32 surface code of the request
    blocks: dict[str, np.ndarray]  # BLOCKS, and LEARNED_BLOCKS once they are added -> (n, width)
    history: History
    labels: np.ndarray | None = None  # uint8 (n, len(HEADS)), training rows only
    occurred_at: np.ndarray | None = None  # int64 microseconds, training rows only
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # BLOCKS -> column names
    dwell_s: np.ndarray | None = None  # float32 (n,), seconds that the row's post was watched or read, training rows only
    asked_us: np.ndarray | None = None  # int64 (n,), when the row's page was asked for; None: when it occurred

    @property
    def as_of_us(self) -> np.ndarray | None:
        """The moment that the features are of, int64 (n,); None where it is unknown."""
        return self.occurred_at if self.asked_us is None else self.asked_us

    def __len__(self) -> int:
        return len(self.post_id)

    def dense(self) -> np.ndarray:
        """All blocks side by side, float32 (n, sum of widths), in the order of MODEL_BLOCKS."""
        return np.concatenate([self.blocks[name] for name in MODEL_BLOCKS if name in self.blocks], axis=1)

    def between(self, start: int, end: int) -> FeatureRows:
        """Rows `start` to `end` (left out), as views: nothing is copied, and nothing read where the arrays are mapped."""
        return self.take(slice(start, end))

    def take(self, index: np.ndarray | slice) -> FeatureRows:
        """The rows at `index` (int array or bool mask: copies; a slice: views). A block broadcast from one row stays so."""
        shared = len(self.history) == 1 and len(self) != 1
        return FeatureRows(
            user_id=self.user_id[index],
            post_id=self.post_id[index],
            author_id=self.author_id[index],
            topic=self.topic[index],
            product=self.product[index],
            blocks={name: _rows_of(block, index) for name, block in self.blocks.items()},
            history=self.history if shared else self.history.rows(index),
            labels=None if self.labels is None else self.labels[index],
            occurred_at=None if self.occurred_at is None else self.occurred_at[index],
            names=self.names,
            dwell_s=None if self.dwell_s is None else self.dwell_s[index],
            asked_us=None if self.asked_us is None else self.asked_us[index],
        )


def _rows_of(block: np.ndarray, index: np.ndarray | slice) -> np.ndarray:
    if isinstance(index, slice) or len(block) < 2 or block.strides[0]:
        return block[index]
    rows = np.count_nonzero(index) if index.dtype == bool else len(index)
    return np.broadcast_to(block[0], (rows, *block.shape[1:]))
