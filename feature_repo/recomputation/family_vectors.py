"""The catalogue's families: cells of the online store beside those that the batch engine gives for the same events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import ibis
import numpy as np
import polars as pl

from feature_repo.aggregates.batch_cells import cells_at, to_cells
from feature_repo.aggregates.cell_rows import CellRows, KeyedCells
from feature_repo.aggregates.families import FAMILY_OF, Family
from feature_repo.aggregates.features import whole
from feature_repo.recomputation.arrivals import ANY_TIME_US, Asked, judge_arrivals, keyed_by, of_keys
from feature_repo.recomputation.online_cells import OnlineCells
from feature_repo.recomputation.vector_pairs import VectorPairs


def catalogue_pairs(
    online: Mapping[str, OnlineCells], events: pl.DataFrame, moment_us: int, complete_us: int
) -> Iterator[VectorPairs]:
    """`family_pairs` of every family in `online`, from the lake's events (columns of `arrivals.arrived_events`)."""
    for name, cells in online.items():
        yield family_pairs(FAMILY_OF[name], cells, keyed_by(events, FAMILY_OF[name]), moment_us, complete_us)


def family_pairs(family: Family, online: OnlineCells, keyed: pl.DataFrame, moment_us: int, complete_us: int) -> VectorPairs:
    """All features of the family at `moment_us` for every key of `online`, as its cells and as the lake's events give them.

    keyed: the lake's events with the family's keys (`arrivals.keyed_by`). complete_us: events that were saved until then
    (wall clock) must be in the store; 0 where that is not known of any.
    """
    own = of_keys(keyed, online.a, online.b)
    in_flight, behind = judge_arrivals(_asked(online, complete_us), own)
    now_us = np.maximum(moment_us, online.updated_at_us)
    selection = whole(family)
    recomputed = _recomputed_cells(family, online, own)
    return VectorPairs(
        family=family.name,
        features=selection.names,
        keys=tuple(_words(family, a, b) for a, b in zip(online.a.tolist(), online.b.tolist(), strict=True)),
        served=selection.vectors(CellRows.of_packed(online.packed), now_us),
        recomputed=selection.vectors(recomputed, now_us),
        in_flight=in_flight,
        behind=behind,
    )


def _recomputed_cells(family: Family, online: OnlineCells, own: pl.DataFrame) -> CellRows:
    """The cells of each key from the events up to the newest one that the store has of it."""
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET enable_progress_bar = false")  # Ibis turns it on, and it goes to stdout, where JSON may go
    try:
        events = ibis.memtable(own.drop("a", "b", "saved_at_us", "event_id", "request_id", "position").to_arrow())
        questions = ibis.memtable(pl.DataFrame({"a": online.a, "b": online.b, "now_us": online.updated_at_us + 1}).to_arrow())
        cells = to_cells(connection.to_pyarrow(cells_at(events, questions, family)))
    finally:
        connection.disconnect()
    keyed = KeyedCells(cells)
    return keyed.rows(keyed.find(online.a, online.b))


def _asked(online: OnlineCells, complete_us: int) -> Asked:
    def every(value: int) -> np.ndarray:
        return np.full(len(online.a), value, np.int64)

    return Asked(online.a, online.b, online.updated_at_us, every(online.read_at_us), every(ANY_TIME_US), every(complete_us))


def _words(family: Family, a: int, b: int) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(family.ids, (a, b), strict=False))
