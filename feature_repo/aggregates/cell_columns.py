"""Cells as rows of a table, with a flat column for every number: what query engines compute and Parquet keeps.

`faded_*` and `ring_*` are relative to the era and the bucket of `as_of_us`: they can be read at that moment and later ones.
"""

from __future__ import annotations

from feature_repo.aggregates.cells import DISTINCT_PLACES
from feature_repo.aggregates.measures import BUCKETS, WINDOWS

FADED_COLUMNS = tuple(f"faded_{window.name}" for window in WINDOWS)
RING_COLUMNS = tuple(f"ring_{window.name}_{place}" for window in WINDOWS for place in range(BUCKETS))
DISTINCT_COLUMNS = tuple(f"distinct_{place}" for place in range(DISTINCT_PLACES))
CELL_COLUMNS = (
    "a",
    "b",
    "measure",  # place in MEASURES
    "as_of_us",
    "newest_us",
    "total",
    *FADED_COLUMNS,
    *RING_COLUMNS,
    *DISTINCT_COLUMNS,
)
