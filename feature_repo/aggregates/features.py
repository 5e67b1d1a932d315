"""From cells and the moment of use to feature vectors. The only implementation: training, snapshot and request.

A selection is compiled once: which cells to gather, what to read off them, a formula a statistic. Asking it for vectors
costs a few array operations, however many keys there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from feature_repo.aggregates.catalogue import Feature, features_of, find
from feature_repo.aggregates.cell_rows import CellRows, KeyedCells
from feature_repo.aggregates.cells import empty_cells
from feature_repo.aggregates.families import FAMILY_OF, Family
from feature_repo.aggregates.measures import MEASURE_INDEX, MEASURES
from feature_repo.aggregates.readings import Reader
from feature_repo.aggregates.recipes import Formula, Reading, Recipe, recipe_of

Columns = np.ndarray | slice

_ROWS_AT_ONCE = 4096  # keys whose cells are gathered together: a request's in one go, a training set's within bounded memory


@dataclass(frozen=True)
class _Matrix:
    """All that one reader reads: column j is of the gathered measure `measure[j]` at `place[j]`."""

    reader: Reader
    measure: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class _Block:
    """The columns of a vector that share a formula: its reads as (matrix, columns of it)."""

    formula: Formula
    constants: np.ndarray  # float64 (columns,)
    reads: tuple[tuple[int, Columns], ...]
    columns: Columns


@dataclass(frozen=True)
class FeatureSelection:
    """Some features of one family, in an order of the reader's choice."""

    family: Family
    features: tuple[Feature, ...]
    _measures: np.ndarray = field(init=False, repr=False, compare=False)  # places in MEASURES that are gathered
    _matrices: tuple[_Matrix, ...] = field(init=False, repr=False, compare=False)
    _blocks: tuple[_Block, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        recipes = [recipe_of(feature) for feature in self.features]
        reads = list(dict.fromkeys(read for recipe in recipes for read in recipe.reads))
        measures = sorted({MEASURE_INDEX[read.measure] for read in reads})
        matrices, place_of = _matrices(reads, measures)
        object.__setattr__(self, "_measures", np.array(measures, np.intp))
        object.__setattr__(self, "_matrices", matrices)
        object.__setattr__(self, "_blocks", _blocks(recipes, place_of))

    @staticmethod
    def of(names: Iterable[str]) -> FeatureSelection:
        """The features of these names, one family's, in this order. Raises ValueError naming what does not fit."""
        features = tuple(find(name) for name in names)
        if not features:
            raise ValueError("a selection of no names names no feature; give at least one")
        families = {feature.family for feature in features}
        if len(families) != 1:
            raise ValueError(f"a selection is of one family's features, not of {sorted(families)}; make one selection each")
        repeated = {feature.name for feature in features if features.count(feature) > 1}
        if repeated:
            raise ValueError(f"a selection names {sorted(repeated)} more than once")
        return FeatureSelection(FAMILY_OF[features[0].family], features)

    @staticmethod
    def matching(
        family: Family | str,
        measures: Collection[str] | None = None,
        statistics: Collection[str] | None = None,
        windows: Collection[str] | None = None,
    ) -> FeatureSelection:
        """The family's features with one of these measures, statistics and windows (None: any), in the family's order.

        A feature over all time passes every choice of windows. Raises ValueError where nothing matches.
        """
        features = tuple(
            feature
            for feature in features_of(family)
            if (measures is None or feature.measure in measures)
            and (statistics is None or feature.statistic in statistics)
            and (windows is None or feature.window is None or feature.window in windows)
        )
        if not features:
            raise ValueError(f"no feature of {family} has measure {measures}, statistic {statistics} and window {windows}")
        return FeatureSelection(FAMILY_OF[features[0].family], features)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.features)

    def vectors(self, rows: CellRows, now_us: np.ndarray | int) -> np.ndarray:
        """The features of n keys at `now_us` (int64 microseconds, one or (n,)): float32 (n, width).

        A moment before the newest event of a cell counts as that event's.
        """
        now = np.asarray(now_us, np.int64).reshape(-1, 1)
        if len(now) not in (1, len(rows)):
            raise ValueError(f"{len(now)} moments for {len(rows)} keys; give one moment, or one a key")
        vectors = np.empty((len(rows), self.width), np.float32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            self._write(vectors[part], rows.take(part), now if len(now) == 1 else now[part])
        return vectors

    def _write(self, vectors: np.ndarray, rows: CellRows, now_us: np.ndarray) -> None:
        """Fill `vectors`, float32 (n, width), with the features of `rows` at `now_us`, int64 (n, 1) or (1, 1)."""
        cells = rows.gather(self._measures)
        read = [matrix.reader(cells, matrix.measure, matrix.place, now_us) for matrix in self._matrices]
        for block in self._blocks:
            parts = [read[matrix][:, columns] for matrix, columns in block.reads]
            vectors[:, block.columns] = block.formula(parts, block.constants)

    def vectors_of(self, keyed: KeyedCells, keys_a: np.ndarray, keys_b: np.ndarray | int, now_us: int) -> np.ndarray:
        """The features of keys (a, b), int64 (n,) each, found in `keyed`: float32 (n, width) at one moment.

        Each different key is worked out once: candidates share authors and topics, and all keys never seen are one.
        """
        different, number = np.unique(keyed.find(keys_a, keys_b), return_inverse=True)
        return self.vectors(keyed.rows(different), now_us)[number]

    def cold(self) -> np.ndarray:
        """The features of a key that nothing happened to, float32 (width,)."""
        return self.vectors(CellRows.of_dense(empty_cells(len(MEASURES))[None]), 0)[0]


@cache
def whole(family: Family | str) -> FeatureSelection:
    """All features of a family, in the order of `catalogue.features_of`."""
    return FeatureSelection.matching(family)


def feature_vectors(family: Family | str, cells: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """All features of a family for n keys: float32 (n, len(features_of(family))).

    cells: CELL (n, len(MEASURES)), an empty cell where nothing happened; now_us: int64 (n,) or one int, microseconds.
    """
    return whole(family).vectors(CellRows.of_dense(cells), now_us)


def _matrices(reads: list[Reading], measures: list[int]) -> tuple[tuple[_Matrix, ...], dict[Reading, tuple[int, int]]]:
    """The reads grouped by reader, and (matrix, column) of each."""
    grouped: dict[Reader, list[Reading]] = {}
    for read in reads:
        grouped.setdefault(read.reader, []).append(read)
    matrices, place_of = [], {}
    for number, (reader, group) in enumerate(grouped.items()):
        gathered = [measures.index(MEASURE_INDEX[read.measure]) for read in group]
        matrices.append(_Matrix(reader, np.array(gathered), np.array([read.place for read in group])))
        place_of |= {read: (number, column) for column, read in enumerate(group)}
    return tuple(matrices), place_of


def _blocks(recipes: list[Recipe], place_of: dict[Reading, tuple[int, int]]) -> tuple[_Block, ...]:
    """Columns whose recipes share the formula and the matrices it reads."""
    grouped: dict[tuple, list[int]] = {}
    for column, recipe in enumerate(recipes):
        matrices = tuple(place_of[read][0] for read in recipe.reads)
        grouped.setdefault((recipe.formula, matrices), []).append(column)
    blocks = []
    for (formula, matrices), columns in grouped.items():
        chosen = [recipes[column] for column in columns]
        reads = tuple(
            (matrix, _columns([place_of[recipe.reads[part]][1] for recipe in chosen])) for part, matrix in enumerate(matrices)
        )
        blocks.append(_Block(formula, np.array([recipe.constant for recipe in chosen]), reads, _columns(columns)))
    return tuple(blocks)


def _columns(places: list[int]) -> Columns:
    """Columns as a slice where they lie side by side (no copy), as an index otherwise."""
    side_by_side = places == list(range(places[0], places[0] + len(places)))
    return slice(places[0], places[0] + len(places)) if side_by_side else np.array(places)
