"""The SQLite online store of the settings: Feast's tables with two trees each, made anew or found as Feast left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pandas as pd
import pytest

from feature_repo.feature_store import apply, open_store
from feature_repo.online_store import online_file
from feature_repo.view_schemas import VIEW_SCHEMAS
from infra.settings import Settings

ROWS = pd.DataFrame(
    {
        "user_id": [3, 1],
        "topic": [9, 9],
        "packed": [b"three", b"one"],
        "event_timestamp": [datetime(2024, 5, 6, tzinfo=UTC)] * 2,
    }
)
READ = ["user_topic_aggregates:packed"]


def indices(settings: Settings) -> set[str]:
    """Names of the indices that were asked for by name; SQLite's own for the primary keys are not among them."""
    with closing(sqlite3.connect(online_file(settings))) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL")}


def tables(settings: Settings) -> dict[str, list[tuple]]:
    """Columns of every table as SQLite tells them: number, name, type, null, default, place in the primary key."""
    with closing(sqlite3.connect(online_file(settings))) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'PRAGMA table_info("{name}")').fetchall() for name in names}


def read(settings: Settings) -> list[bytes | None]:
    keys = [{"user_id": user, "topic": 9} for user in (1, 2, 3)]
    return open_store(settings).get_online_features(READ, keys).to_dict()["packed"]


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> tuple[Settings, Settings]:
    """Two homes with the definitions applied and two rows written: Feast's own layout, and ours."""
    pair = []
    for name in ("feast", "lean"):
        settings = Settings(home=tmp_path_factory.mktemp(name))
        apply(settings, feasts_own=name == "feast")
        open_store(settings, feasts_own=name == "feast").write_to_online_store("user_topic_aggregates", ROWS)
        pair.append(settings)
    return tuple(pair)


def test_the_tables_are_feasts_without_the_second_index(homes):
    feast, lean = homes
    assert tables(lean) == tables(feast)
    assert len(tables(lean)) == len(VIEW_SCHEMAS)
    assert len(indices(feast)) == len(VIEW_SCHEMAS)
    assert indices(lean) == set()


def test_a_key_is_found_by_its_primary_key(homes):
    _, lean = homes
    with closing(sqlite3.connect(online_file(lean))) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT value FROM home_mixer_user_topic_aggregates WHERE entity_key IN (?)", (b"",)
        ).fetchall()
    assert "SEARCH" in plan[0][-1]
    assert "sqlite_autoindex" in plan[0][-1]


def test_a_file_that_feast_made_is_taken_over_with_its_rows(homes):
    feast, lean = homes
    assert read(lean) == [b"one", None, b"three"]
    assert read(feast) == [b"one", None, b"three"]
    apply(feast)
    assert indices(feast) == set()
    assert read(feast) == [b"one", None, b"three"]


def test_tables_of_views_that_are_gone_go_too(homes):
    _, lean = homes
    store = open_store(lean)
    view = store.get_feature_view("topic_aggregates")
    store.apply([], objects_to_delete=[view], partial=False)
    assert "home_mixer_topic_aggregates" not in tables(lean)
    apply(lean)
    assert "home_mixer_topic_aggregates" in tables(lean)
    assert read(lean) == [b"one", None, b"three"]
