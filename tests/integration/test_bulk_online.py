"""The bulk writers against Feast itself, on both online stores: the same rows leave the same bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import redis
from feast.data_source import PushMode

from feature_repo.aggregates.cells import empty_cells
from feature_repo.aggregates.ranking_state import STATE_WIDTH
from feature_repo.bulk_online.redis_writer import connection_options
from feature_repo.bulk_online.sqlite_writer import OnlineTableMissing
from feature_repo.bulk_online.writer import open_bulk_writer, write_rows
from feature_repo.feature_store import (
    FeatureTablesMissing,
    apply,
    build_offline,
    materialise,
    materialise_by_feast,
    online_file,
    open_store,
)
from feature_repo.offline_files import TIMESTAMP, VIEW_NAMES, source_file
from feature_repo.online import OnlineFeatures
from feature_repo.service_names import AGGREGATES
from feature_repo.sources import push_name
from feature_repo.view_schemas import AGGREGATE_VIEWS, RANKING_VIEWS, VIEW_SCHEMAS, Kind, ViewSchema
from infra.settings import Settings
from tests.local_redis import local_redis
from tests.small_events import START, small_lake

pytestmark = pytest.mark.slow

ROWS = 60
CUT = START + timedelta(days=3)
STORES = ("sqlite", "redis")


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory) -> Iterator[int]:
    with local_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module", params=STORES)
def homes(request, tmp_path_factory) -> tuple[Settings, Settings]:
    """Two homes with the definitions applied and empty online stores of the same kind: one for Feast, one for bulk."""
    folder = tmp_path_factory.mktemp(request.param)
    pair = []
    for number, name in enumerate(("feast", "bulk")):
        settings = partial(Settings, home=folder / name, online_store=request.param)
        if request.param == "redis":
            settings = partial(settings, redis_url=f"127.0.0.1:{request.getfixturevalue('redis_port')},db={number}")
        apply(settings(), feasts_own=name == "feast")
        pair.append(settings())
    return tuple(pair)


def stored(settings: Settings, view: str) -> dict:
    """Everything that the online store holds of `view`: SQLite's rows, or the hashes of all keys."""
    if settings.online_store == "redis":
        with redis.Redis(**connection_options(settings.redis_url)) as client:
            return {key: client.hgetall(key) for key in client.scan_iter()}
    with sqlite3.connect(online_file(settings)) as connection:
        rows = connection.execute(f"SELECT * FROM home_mixer_{view} ORDER BY entity_key, feature_name").fetchall()
    connection.close()
    return {row[:2]: row[2:] for row in rows}


def drawn_rows(schema: ViewSchema, seed: int, at: datetime) -> pd.DataFrame:
    """ROWS rows of a view with distinct keys, values of all sizes, and stamps about `at`."""
    random = np.random.default_rng(seed)
    draw = {
        Kind.BYTES: lambda: random.bytes(int(random.integers(0, 3)) * empty_cells(1).nbytes),
        Kind.INT64: lambda: int(random.choice([0, 1, -1, 127, 128, 2**40, -(2**62), 2**63 - 1])),
        Kind.FLOATS: lambda: random.normal(size=STATE_WIDTH).astype(np.float32),
        Kind.INTS: lambda: random.integers(-3, 2 ** int(random.integers(2, 62)), 6 * int(random.integers(1, 40))),
    }
    columns = {name: random.choice([-1, 1], ROWS) * random.permutation(ROWS * 1_000)[:ROWS] for name in schema.ids}
    columns |= {feature.name: [draw[feature.kind]() for _ in range(ROWS)] for feature in schema.features}
    stamps = [at + timedelta(microseconds=int(shift)) for shift in random.integers(0, 10**9, ROWS)]
    stamps[0] = at.replace(microsecond=0)  # a stamp without a part of a second is stored in another form
    return pd.DataFrame({**columns, TIMESTAMP: stamps})


def write_in_bulk(settings: Settings, schema: ViewSchema, rows: pd.DataFrame) -> int:
    columns = {Kind.BYTES: list, Kind.INT64: np.array, Kind.FLOATS: np.array, Kind.INTS: pa.array}
    values = {feature.name: columns[feature.kind](rows[feature.name].tolist()) for feature in schema.features}
    return write_rows(
        settings, schema.name, [rows[name].to_numpy() for name in schema.ids], values, microseconds(rows[TIMESTAMP])
    )


def microseconds(stamps: pd.Series) -> np.ndarray:
    return stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)


@pytest.mark.parametrize("view", ["user", "user_history", "post", "topic_aggregates", "user_author_aggregates"])
def test_the_same_rows_leave_the_same_bytes_as_feasts_own_write(homes, view):
    by_feast, in_bulk = homes
    schema, at = VIEW_SCHEMAS[view], datetime(2023, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    first, again = drawn_rows(schema, 1, at), drawn_rows(schema, 2, at + timedelta(days=1))
    again[list(schema.ids)] = first[list(schema.ids)]  # the second write replaces the first one's values
    for rows in (first, again):
        open_store(by_feast).write_to_online_store(view, rows)
        assert write_in_bulk(in_bulk, schema, rows) == ROWS
        expected = stored(by_feast, view)
        assert len(expected) >= ROWS
        assert stored(in_bulk, view) == expected


def test_an_older_row_is_taken_or_left_as_feast_would(homes):
    """Feast's SQLite store takes whatever comes last; its Redis store keeps the newer row, and the old one at a tie."""
    by_feast, in_bulk = homes
    schema, at = VIEW_SCHEMAS["author"], datetime(2024, 1, 1, tzinfo=UTC)
    newest, mixed = drawn_rows(schema, 5, at), drawn_rows(schema, 6, at)
    mixed["author_id"] = newest["author_id"]
    shifts = [timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1), timedelta(days=-400)]
    mixed[TIMESTAMP] = [stamp + shifts[row % len(shifts)] for row, stamp in enumerate(newest[TIMESTAMP])]
    for rows, taken_by_redis in ((newest, ROWS), (mixed, ROWS // 4)):
        open_store(by_feast).write_to_online_store("author", rows)
        assert write_in_bulk(in_bulk, schema, rows) == (taken_by_redis if in_bulk.online_store == "redis" else ROWS)
    assert stored(in_bulk, "author") == stored(by_feast, "author")


def test_a_push_leaves_what_the_bulk_path_leaves(homes):
    by_feast, in_bulk = homes
    family, random = "user_topic", np.random.default_rng(3)
    users, topics = random.permutation(ROWS), random.integers(0, 5, ROWS)
    packed = [random.bytes(256 * int(random.integers(1, 5))) for _ in range(ROWS)]
    updated_at_us = 1_700_000_000_000_000 + random.integers(0, 10**9, ROWS)
    view = AGGREGATE_VIEWS["user_topic_aggregates"]
    rows = pd.DataFrame({"user_id": users, "topic": topics, "packed": packed})
    rows[TIMESTAMP] = pd.to_datetime(updated_at_us + 1, unit="us", utc=True)
    open_store(by_feast).push(push_name(view.name), rows, to=PushMode.ONLINE)
    with open_bulk_writer(in_bulk) as writer:
        assert writer.write_cells(family, (users, topics), packed, updated_at_us) == ROWS
    assert stored(in_bulk, view.name) == stored(by_feast, view.name)

    store = open_store(in_bulk)
    asked = [
        {"user_id": int(user), "topic": int(topic), "post_id": -1, "author_id": -1, "hour": -1, "product": -1}
        for user, topic in zip(users, topics, strict=True)
    ]
    answer = store.get_online_features(store.get_feature_service(AGGREGATES), asked, full_feature_names=True).to_dict()
    assert answer[f"{view.name}__packed"] == packed
    assert answer["post_aggregates__packed"] == [None] * ROWS


def test_bulk_materialisation_stores_what_feasts_own_stores(homes):
    by_feast, in_bulk = homes
    for settings in homes:
        with pytest.raises(FeatureTablesMissing, match="build_offline"):
            materialise(settings, CUT)
        lake = small_lake(settings.paths.lake)
        build_offline(settings, [lake], CUT + timedelta(days=1))  # later rows are there, and must not be taken
        _write_cell_history(settings)
    materialise_by_feast(by_feast, CUT)
    keys = materialise(in_bulk, CUT)
    assert set(keys) == {*RANKING_VIEWS, "user_author_aggregates"}
    assert keys["user"] == 13
    assert keys["user_author_aggregates"] == 4
    for view in (*VIEW_NAMES, "user_author_aggregates"):
        assert stored(in_bulk, view) == stored(by_feast, view)
        ends = [open_store(one).get_feature_view(view).materialization_intervals[-1][1] for one in homes]
        assert ends == [CUT, CUT]
    now_us = round(CUT.timestamp() * 1e6)
    served, expected = (OnlineFeatures(settings).user(3, now_us) for settings in (in_bulk, by_feast))
    assert served.known
    np.testing.assert_array_equal(served.user, expected.user)
    np.testing.assert_array_equal(served.history.post_id, expected.history.post_id)


def _write_cell_history(settings: Settings) -> None:
    """Offline rows of one aggregate family: three moments of each of four keys, one of them after CUT."""
    stamps = [CUT - timedelta(days=2), CUT, CUT + timedelta(microseconds=1)] * 4
    frame = pl.DataFrame(
        {
            "user_id": np.repeat([1, 1, 2, 2], 3),
            "author_id": np.repeat([7, 8, 7, 8], 3),
            "packed": [bytes([row]) * 256 for row in range(12)],
            TIMESTAMP: stamps,
        }
    )
    frame.write_parquet(source_file(settings.paths.features, "user_author_aggregates"))


def test_columns_that_do_not_fit_the_view_are_refused(homes):
    _, settings = homes
    ids, stamps = (np.arange(3),), np.arange(3)
    with pytest.raises(ValueError, match=r"has the features \['state', 'updated_at'\]"):
        write_rows(settings, "author", ids, {"state": np.zeros((3, 2))}, stamps)
    with pytest.raises(ValueError, match=r"other lengths: \{'author_id': 2\}"):
        write_rows(settings, "author", (np.arange(2),), {"state": np.zeros((3, 2)), "updated_at": stamps}, stamps)
    with pytest.raises(ValueError, match="join keys"):
        write_rows(settings, "user_topic_aggregates", ids, {"packed": [b""] * 3}, stamps)


def test_a_store_without_the_views_table_says_what_to_do(tmp_path: Path):
    settings = Settings(home=tmp_path)
    write = partial(write_rows, settings, "user_aggregates", (np.array([1]),), {"packed": [b"x"]}, np.array([2]))
    with pytest.raises(OnlineTableMissing, match="there is no online store"):
        write()
    settings.paths.features.mkdir()
    sqlite3.connect(online_file(settings)).close()
    with pytest.raises(OnlineTableMissing, match="no table for view 'user_aggregates'; apply the definitions"):
        write()
