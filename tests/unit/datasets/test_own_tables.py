"""A folder of files in the contracts' columns is a dataset, without a line of code."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.contracts import check_table
from feature_repo.datasets.adapter import MalformedFile, open_adapter
from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.own_tables import OwnTables
from feature_repo.datasets.world import World, WorldConfig
from feature_repo.lake import Lake
from infra.settings import Settings

START = datetime(2025, 1, 1, 12, tzinfo=UTC)


def event(number: int, day: int = 0, **changes: object) -> dict[str, object]:
    plain = {"event_id": f"e{number}", "user_id": 1, "post_id": 5, "author_id": 9, "action": "click", "product": "home"}
    return {**plain, "occurred_at": (START + timedelta(days=day)).isoformat(), **changes}


def write_lines(folder: Path, events: list[dict] | None = None) -> Path:
    """The least that a dataset needs, as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "events": events if events is not None else [event(day, day) for day in range(6)],
        "posts": [{"post_id": 5, "author_id": 9, "created_at": "2025-01-01T00:00:00Z", "topics": [1], "media": "text"}],
        "users": [{"user_id": 1}],
    }
    for name, rows in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_json_lines_with_the_required_columns_only_are_enough(tmp_path: Path) -> None:
    tables = OwnTables(write_lines(tmp_path)).tables()
    for name in ("events", "posts", "users"):
        check_table(name, getattr(tables, name))
    assert tables.events["occurred_at"][0] == START
    assert tables.users["attributes"].to_list() == [[]]
    assert tables.edges is None and tables.malformed.is_empty()


def test_parquet_tables_with_a_declared_graph_come_through_unchanged(tmp_path: Path) -> None:
    world = World(WorldConfig(users=40, posts=60, days=5))
    given = {"events": world.history_events(), "posts": world.posts(), "users": world.users(), "edges": world.edges()}
    for name, table in given.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
    tables = OwnTables(tmp_path).tables()
    for name, table in given.items():
        assert check_table(name, getattr(tables, name)).equals(check_table(name, table)), name


def test_a_row_that_breaks_a_rule_goes_to_the_dead_letters_and_the_rest_is_ingested(tmp_path: Path) -> None:
    rows = [*(event(day, day) for day in range(6)), event(90, 1, action="poke"), event(91, 1, user_id=None)]
    adapter = OwnTables(write_lines(tmp_path / "own", rows))
    report = ingest(adapter, Lake(tmp_path / "lake"), Lake(tmp_path / "holdout"))
    assert (report.lake_events, report.holdout_events, report.malformed) == (4, 2, 2)
    dead = pl.read_parquet(tmp_path / "lake" / "dead_letters" / "own.parquet")
    assert dict(dead.select("event_id", "reason").iter_rows()) == {
        "e90": "action is not in the closed set",
        "e91": "user_id is null or negative",
    }


@pytest.mark.parametrize(
    ("change", "column", "row"),
    [({"occurred_at": "some day"}, "occurred_at", 3), ({"value": "much"}, "value", 3)],
)
def test_a_cell_of_the_wrong_type_is_named(tmp_path: Path, change: dict, column: str, row: int) -> None:
    rows = [event(0), event(1, 1), event(2, 2, **change)]
    with pytest.raises(MalformedFile, match=f"events.jsonl, column '{column}', row {row}"):
        OwnTables(write_lines(tmp_path, rows)).tables()


def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path) -> None:
    write_lines(tmp_path, [{key: value for key, value in event(0).items() if key != "product"}])
    with pytest.raises(MalformedFile, match="events.jsonl, column 'product'"):
        OwnTables(tmp_path).tables()
    write_lines(tmp_path)
    (tmp_path / "posts.jsonl").unlink()
    with pytest.raises(MalformedFile, match="posts.parquet: the file is missing"):
        OwnTables(tmp_path).tables()


def test_auto_takes_them_before_any_other_dataset_and_other_choices_do_not(tmp_path: Path) -> None:
    write_lines(tmp_path / "own")
    assert open_adapter(Settings(data=tmp_path, dataset="auto")).name == "own"
    assert open_adapter(Settings(data=tmp_path, dataset="world")).name == "world"
