"""Candidates of one request as one struct of arrays: no Python object per post, no loop over posts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from feature_repo.feature_rows import FeatureRows

Column = np.ndarray | FeatureRows

# Columns that every candidate has from the moment the sources are merged; a component may read them unasked.
BASE_COLUMNS = ("ordinal", "source_mask", "score")


class MissingColumn(KeyError):
    """A component read a column that nobody wrote, because it is undeclared or because its writer failed."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Candidates:
    """n candidates. Row i is one proposal of one source; the same post may be proposed by several sources.

    post_id, author_id: int64 (n,); source: int16 (n,), index into `source_names`; columns: name -> array with n rows.
    """

    post_id: np.ndarray
    author_id: np.ndarray
    source: np.ndarray
    source_names: tuple[str, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.post_id)

    @staticmethod
    def proposed(post_id: np.ndarray, author_id: np.ndarray) -> Candidates:
        """What a source returns: its posts, best first."""
        return Candidates(
            np.asarray(post_id, np.int64), np.asarray(author_id, np.int64), source=np.zeros(len(post_id), np.int16)
        )

    def __getitem__(self, name: str) -> Column:
        """The column `name`; raises MissingColumn naming it and what there is."""
        try:
            return self.columns[name]
        except KeyError:
            raise MissingColumn(f"candidate column {name!r} was not written; present: {sorted(self.columns)}") from None

    def take(self, index: np.ndarray) -> Candidates:
        """The rows at `index`: an int array (in that order) or a bool mask."""
        return Candidates(
            post_id=self.post_id[index],
            author_id=self.author_id[index],
            source=self.source[index],
            source_names=self.source_names,
            columns={name: _rows(column, index) for name, column in self.columns.items()},
        )

    def with_columns(self, columns: Mapping[str, Column]) -> Candidates:
        """The same candidates with `columns` added or replaced; raises ValueError where a column has other than n rows."""
        for name, column in columns.items():
            if len(column) != len(self):
                raise ValueError(f"column {name!r} has {len(column)} rows for {len(self)} candidates")
        return Candidates(self.post_id, self.author_id, self.source, self.source_names, {**self.columns, **columns})


def _rows(column: Column, index: np.ndarray) -> Column:
    return column.take(index) if isinstance(column, FeatureRows) else column[index]


def merge(proposals: Sequence[tuple[str, Candidates]]) -> Candidates:
    """Put the sources' proposals together, in the order of `proposals`, with the base columns.

    `ordinal` int32: identity of a row through the request. `source_mask` int64: bit i set where source i proposed the post.
    `score` float64: reciprocal of 1 + rank within its source, so that with every scorer failing the sources still interleave.
    """
    names = tuple(name for name, _ in proposals)
    parts = [part for _, part in proposals]
    post_id = np.concatenate([part.post_id for part in parts]) if parts else np.empty(0, np.int64)
    author_id = np.concatenate([part.author_id for part in parts]) if parts else np.empty(0, np.int64)
    sizes = [len(part) for part in parts]
    source = np.repeat(np.arange(len(parts), dtype=np.int16), sizes)
    rank = np.concatenate([np.arange(size) for size in sizes]) if parts else np.empty(0, np.int64)
    unique, inverse = np.unique(post_id, return_inverse=True)
    mask = np.zeros(len(unique), np.int64)
    np.bitwise_or.at(mask, inverse, np.int64(1) << source.astype(np.int64))
    base = {
        "ordinal": np.arange(len(post_id), dtype=np.int32),
        "source_mask": mask[inverse],
        "score": 1.0 / (1.0 + rank),
    }
    return Candidates(post_id, author_id, source, names, base)
