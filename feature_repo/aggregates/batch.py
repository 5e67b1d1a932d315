"""The batch engine: the state of every key after each of its moments, as Ibis expressions (DuckDB here, warehouses beyond).

A moment is one (key, microsecond): events of one exposure share it and are folded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import polars as pl

from feature_repo.aggregates.batch_engine import EngineLimits, open_engine
from feature_repo.aggregates.ranking_state import (
    AGED,
    COUNTED,
    DWELL,
    DWELL_CAP_S,
    MEASURES,
    MICROSECONDS,
    NEVER,
    PRIOR,
    STATE_COLUMNS,
    WINDOWS,
    Key,
    Window,
)
from feature_repo.contracts import HISTORY_BEFORE, Action
from infra.storage import replace_atomically

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

# Fading sums are running sums of 2^(t / half-life). Time is cut into eras of this many half-lives, so that the weights
# stay far inside a double's range; a sum two eras old weighs less than 2^-256 and is dropped.
ERA_HALF_LIVES = 256

EVENTS = "events"  # the engine's name for the table of all events
_KEYED, _FOLDED = "keyed_events", "folded_states"  # its views of the events of one kind of key, and of their states
_EVENTS = {"key": "int64", "at": "int64", "action": "string", "product": "string", "value": "float64"}
_STATES = {"key": "int64", "updated_at": "int64", "state": "array<float32>"}


def write_states(events: pl.DataFrame, folder: Path, keys: tuple[Key, ...] = tuple(Key)) -> dict[str, int]:
    """Write `<key>.parquet` per key with (id column, updated_at int64 us, state list<float>), sorted by id and time.

    `events` has the columns of `event_log.read_events`. Returns rows per key.
    """
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET enable_progress_bar = false")  # Ibis turns it on, and it goes to stdout, where JSON may go
    try:
        connection.con.register(EVENTS, events.drop("event_id", "request_id", "position").to_arrow())
        return _write(connection, folder, keys)
    finally:
        connection.disconnect()


def write_states_of_files(files: Sequence[Path], folder: Path, limits: EngineLimits) -> dict[str, int]:
    """`write_states` of all keys from Parquet files of such events, within `limits`: what does not fit is spilled to disk."""
    with open_engine(limits) as connection:
        connection.read_parquet([str(file) for file in files], table_name=EVENTS)
        return _write(connection, folder, tuple(Key))


def _write(connection: Backend, folder: Path, keys: tuple[Key, ...]) -> dict[str, int]:
    """Write the states of the connection's table EVENTS."""
    written, events = {}, connection.table(EVENTS).unbind()
    connection.raw_sql(f"CREATE TEMP VIEW {_KEYED} AS {_sql(_keyed(events, keys[0]))}")
    connection.raw_sql(f"CREATE TEMP VIEW {_FOLDED} AS {_folding()}")
    for key in keys:
        connection.raw_sql(f"CREATE OR REPLACE TEMP VIEW {_KEYED} AS {_sql(_keyed(events, key))}")
        rows = _sql(_named(ibis.table(_STATES, name=_FOLDED), events, key))
        with replace_atomically(folder / f"{key.value}.parquet") as temporary:
            place = str(temporary).replace("'", "''")
            connection.raw_sql(f"COPY ({rows}) TO '{place}' (FORMAT parquet, COMPRESSION zstd)")
        written[key.value] = pl.scan_parquet(folder / f"{key.value}.parquet").select(pl.len()).collect().item()
    return written


@cache
def _folding() -> str:
    """The states of the view _KEYED as DuckDB's SQL. Ibis takes seconds to write it: once, for all kinds of keys."""
    return _sql(_states(ibis.table(_EVENTS, name=_KEYED)))


def _sql(table: ir.Table) -> str:
    return ibis.to_sql(table, dialect="duckdb", pretty=False)


def states(events: ir.Table, key: Key) -> ir.Table:
    """Expression of (id, updated_at, state): one row a moment of each key, the state with that moment folded in."""
    return _named(_states(_keyed(events, key)), events, key)


def _keyed(events: ir.Table, key: Key) -> ir.Table:
    """The events of the keys, as _EVENTS. Posts without a topic have no topic key."""
    if key is Key.TOPIC:
        events = events.filter(events.topic >= 0)
    return events.select(**{name: events[key.column if name == "key" else name].cast(kind) for name, kind in _EVENTS.items()})


def _named(folded: ir.Table, events: ir.Table, key: Key) -> ir.Table:
    """`folded` under the key's own name and type, in order."""
    named = {key.column: folded.key.cast(events[key.column].type())}
    return folded.select(**named, updated_at=folded.updated_at, state=folded.state).order_by([key.column, "updated_at"])


def _states(events: ir.Table) -> ir.Table:
    """The states of `_keyed` events, as _STATES."""
    moments = _last_of_undated_runs(_moments(events))
    for window in WINDOWS:
        if window.half_life_us is not None:
            moments = _with_fading_sums(moments, window)
    by_time = ibis.window(group_by="key", order_by="at", preceding=None, following=0)
    plain = {f"{measure}.all": moments[measure].sum().over(by_time) for measure in MEASURES}
    plain |= {f"prior_{action}": moments[f"prior_{action}"].sum().over(by_time) for action in PRIOR}
    last = {action: (moments[action] > 0).ifelse(moments.at, ibis.null("int64")).max().over(by_time) for action in AGED}
    ages = {f"age.{action}": ((moments.at - at).cast("float64") / MICROSECONDS).fill_null(NEVER) for action, at in last.items()}
    complete = moments.mutate(**plain, **ages)
    packed = ibis.array([complete[column.name].cast("float32") for column in STATE_COLUMNS])
    return complete.select("key", updated_at=complete.at, state=packed)


def _moments(events: ir.Table) -> ir.Table:
    """Sums of every measure per (key, microsecond)."""
    dated = events["product"] != HISTORY_BEFORE
    seconds = (events["value"].fill_null(0.0) / 1000.0).clip(lower=0.0, upper=DWELL_CAP_S)
    sums = {name: (dated & (events.action == name)).cast("float64").sum() for name in COUNTED}
    sums[DWELL] = (dated & (events.action == Action.DWELL.value)).ifelse(seconds, 0.0).sum()
    sums |= {f"prior_{name}": (~dated & (events.action == name)).cast("float64").sum() for name in PRIOR}
    return events.group_by(["key", "at"]).aggregate(**sums, dated=dated.any())


def _last_of_undated_runs(moments: ir.Table) -> ir.Table:
    """Fold each run of undated moments between two dated ones into its last.

    Undated events are known by an upper bound only; seeing the run whole at its last bound leaks nothing and saves
    most rows (a popular post is in the undated history of thousands of users).
    """
    by_time = ibis.window(group_by="key", order_by="at", preceding=None, following=0)
    run = moments.dated.cast("int64").sum().over(by_time)
    sums = {name: lambda table, name=name: table[name].sum() for name in (*MEASURES, *[f"prior_{action}" for action in PRIOR])}
    grouped = moments.mutate(run=run).group_by(["key", "run", "dated"])
    return grouped.aggregate(at=lambda table: table["at"].max(), **sums).drop("run")


def _with_fading_sums(moments: ir.Table, window: Window) -> ir.Table:
    """Add `<measure>.<window>`: sum over moments of measure x 2^(-(now - then) / half-life)."""
    half_life = window.half_life_us
    era_us = ERA_HALF_LIVES * half_life
    era = (moments.at / era_us).floor().cast("int64")
    weight = ibis.literal(2.0) ** ((moments.at - era * era_us).cast("float64") / half_life)
    moments = moments.mutate(era=era, weight=weight)
    within = ibis.window(group_by=["key", "era"], order_by="at", preceding=None, following=0)
    running = {f"_run_{measure}": (moments[measure] * moments.weight).sum().over(within) for measure in MEASURES}
    totals = moments.group_by(["key", "era"]).aggregate(
        **{f"_carry_{measure}": (moments[measure] * moments.weight).sum() * 2.0**-ERA_HALF_LIVES for measure in MEASURES}
    )
    totals = totals.mutate(era=totals.era + 1)
    joined = moments.mutate(**running).left_join(totals, ["key", "era"])
    faded = {
        f"{measure}.{window.name}": (joined[f"_run_{measure}"] + joined[f"_carry_{measure}"].fill_null(0.0)) / joined.weight
        for measure in MEASURES
    }
    clashing = [name for name in joined.columns if name.endswith("_right")]
    return joined.mutate(**faded).drop(
        "era",
        "weight",
        *running,
        *[f"_carry_{measure}" for measure in MEASURES],
        *clashing,
    )
