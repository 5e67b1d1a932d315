"""The ranker's served aggregates beside those that the batch engine gives for the same key and moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from feature_repo.aggregates.batch import write_states
from feature_repo.aggregates.families import FAMILY_OF
from feature_repo.aggregates.ranking_state import DERIVED_NAMES, Key
from feature_repo.recomputation.arrivals import ANY_TIME_US, Asked, judge_arrivals, keyed_by, of_keys
from feature_repo.recomputation.served_vectors import ServedVector
from feature_repo.recomputation.vector_pairs import RANKING, VectorPairs
from feature_repo.state_tables import read_state_table


def ranking_pairs(served: Sequence[ServedVector], events: pl.DataFrame, scratch: Path) -> list[VectorPairs]:
    """The pairs of every kind of key that `served` has, from the lake's events (columns of `arrivals.arrived_events`)."""
    found = []
    for key in Key:
        vectors = [vector for vector in served if vector.family == key.value]
        if vectors:
            found.append(_pairs(key, vectors, events, scratch))
    return found


def _pairs(key: Key, vectors: Sequence[ServedVector], events: pl.DataFrame, scratch: Path) -> VectorPairs:
    asked = _asked(vectors)
    own = of_keys(keyed_by(events, FAMILY_OF[key.value]), asked.a, asked.b)
    in_flight, behind = judge_arrivals(asked, own)
    now_us = np.array([vector.now_us for vector in vectors], np.int64)
    # An event later than all vectors cannot be in one of them.
    past = own.filter(pl.col("at") <= int(asked.updated_at_us.max())).drop("a", "b", "saved_at_us")
    with TemporaryDirectory(dir=scratch, prefix="recomputed-") as folder:
        write_states(past, Path(folder), (key,))
        states = read_state_table(Path(folder), key).as_of(asked.a, asked.updated_at_us + 1)
    return VectorPairs(
        family=RANKING + key.value,
        features=tuple(f"{key.value}.{name}" for name in DERIVED_NAMES),
        keys=tuple(f"{key.column} {vector.key}" for vector in vectors),
        served=np.stack([vector.values for vector in vectors]),
        recomputed=states.derive(now_us),
        in_flight=in_flight,
        behind=behind,
    )


def _asked(vectors: Sequence[ServedVector]) -> Asked:
    read_at = np.array([vector.read_at_us for vector in vectors], np.int64)
    return Asked(
        a=np.array([vector.key for vector in vectors], np.int64),
        b=np.zeros(len(vectors), np.int64),
        updated_at_us=np.array([vector.updated_at_us for vector in vectors], np.int64),
        read_at_us=read_at,
        as_of_us=np.array([ANY_TIME_US if one.as_of_us is None else one.as_of_us for one in vectors], np.int64),
        complete_us=read_at,
    )
