"""The batch engine: the state of every key after each of its moments.

A moment is one (key, microsecond): events of one exposure share it and are folded together. Grouping events into moments, and
sorting them, is an Ibis expression (DuckDB here, warehouses beyond); `moment_folding.py` folds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl
import pyarrow as pa

from feature_repo.aggregates.batch_engine import EngineLimits, open_engine
from feature_repo.aggregates.moment_folding import Moments, folded
from feature_repo.aggregates.ranking_state import DWELL, DWELL_CAP_S, STATE_WIDTH, Key
from feature_repo.aggregates.state_questions import StateQuestions
from feature_repo.contracts import HISTORY_BEFORE, Action
from infra.storage import replace_atomically

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

EVENTS = "events"  # the engine's name for the table of all events
_EVENTS = {"key": "int64", "at": "int64", "action": "string", "product": "string", "value": "float64"}
BATCH_ROWS = 65_536  # moments that are folded at once
ALL: Mapping[Key, StateQuestions] = MappingProxyType({})  # every state of every key


def write_states(events: pl.DataFrame, folder: Path, keys: tuple[Key, ...] = tuple(Key)) -> dict[str, int]:
    """Write each key's `file` in Arrow's format with (id column, updated_at int64 us, state list<float>), by id and time.

    `events` has the columns of `event_log.read_events`. Returns rows per key.
    """
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET enable_progress_bar = false")  # Ibis turns it on, and it goes to stdout, where JSON may go
    try:
        connection.con.register(EVENTS, events.drop("event_id", "request_id", "position").to_arrow())
        return _write(connection, folder, keys)
    finally:
        connection.disconnect()


def write_states_of_files(
    files: Sequence[Path], folder: Path, limits: EngineLimits, asked: Mapping[Key, StateQuestions] = ALL
) -> dict[str, int]:
    """`write_states` of all keys from Parquet files of such events, within `limits`: what does not fit is spilled to disk.

    asked: of these keys only the states that are asked for.
    """
    with open_engine(limits) as connection:
        connection.read_parquet([str(file) for file in files], table_name=EVENTS)
        return _write(connection, folder, tuple(Key), asked)


def _write(
    connection: Backend, folder: Path, keys: tuple[Key, ...], asked: Mapping[Key, StateQuestions] = ALL
) -> dict[str, int]:
    """Write the states of the connection's table EVENTS."""
    events = connection.table(EVENTS)
    actions = connection.raw_sql(f"SELECT DISTINCT action FROM {EVENTS}").fetchall()
    moments = Moments.of(action for (action,) in actions)
    written = {}
    for key in keys:
        keyed = _keyed(events, key)
        if key in asked:
            name = f"asked_{key.value}"
            connection.con.register(name, pa.table({"key": np.unique(asked[key].ids)}))
            keyed = keyed.semi_join(connection.table(name), "key")
        in_order = _moments(keyed, moments).order_by(["key", "at"])
        batches = connection.con.sql(ibis.to_sql(in_order, dialect="duckdb", pretty=False)).to_arrow_reader(BATCH_ROWS)
        parts = folded(batches, moments)
        with replace_atomically(folder / key.file) as temporary:
            written[key.value] = _write_folded(asked[key].answering(parts) if key in asked else parts, temporary, key)
    return written


def _write_folded(parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], file: Path, key: Key) -> int:
    """States as an Arrow file, which is written and read four times as fast as Parquet; returns the rows."""
    ids = pa.int32() if key is Key.TOPIC else pa.int64()
    schema = pa.schema([(key.column, ids), ("updated_at", pa.int64()), ("state", pa.list_(pa.float32()))])
    rows = 0
    with pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for key_ids, updated_at, states in parts:
            offsets = np.arange(len(states) + 1, dtype=np.int32) * STATE_WIDTH
            packed = pa.ListArray.from_arrays(offsets, pa.array(states.reshape(-1)))
            writer.write_table(pa.table([pa.array(key_ids, ids), pa.array(updated_at), packed], schema=schema))
            rows += len(states)
    return rows


def _keyed(events: ir.Table, key: Key) -> ir.Table:
    """The events of the keys, as _EVENTS. Posts without a topic have no topic key."""
    if key is Key.TOPIC:
        events = events.filter(events.topic >= 0)
    return events.select(**{name: events[key.column if name == "key" else name].cast(kind) for name, kind in _EVENTS.items()})


def _moments(events: ir.Table, moments: Moments) -> ir.Table:
    """Sums of what moves per (key, microsecond) of `_keyed` events, and whether any is dated."""
    dated = events["product"] != HISTORY_BEFORE
    seconds = (events["value"].fill_null(0.0) / 1000.0).clip(lower=0.0, upper=DWELL_CAP_S)
    sums = {name: (dated & (events.action == name)).cast("float64").sum() for name in moments.sums if name != DWELL}
    if DWELL in moments.sums:
        sums[DWELL] = (dated & (events.action == Action.DWELL.value)).ifelse(seconds, 0.0).sum()
    sums |= {f"prior_{name}": (~dated & (events.action == name)).cast("float64").sum() for name in moments.undated}
    return events.group_by(["key", "at"]).aggregate(**sums, dated=dated.any())
