"""Rows of posts, users and edges that break a rule lie among the dead letters after an ingestion; its report counts them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from feature_repo.datasets.ingest import ingest
from feature_repo.lake import DEAD_LETTERS, Lake
from flows.ingest import told
from tests.own_files import event, own, read, write_csv, write_lines


def test_a_dead_row_of_any_table_is_a_dead_letter_with_its_place_column_value_and_reason(tmp_path: Path) -> None:
    files = tmp_path / "files"
    write_lines(files / "events.jsonl", [event(number, day=number) for number in range(8)] + [event(9, occurred_at="soon")])
    write_csv(files / "posts.csv", "post_id,author_id,language\n5,9,en\n,9,de\n6,9,fr\n")
    write_csv(files / "users.csv", f"user_id\n1\n{'x' * 600}\n2,3\n")
    write_csv(files / "edges.csv", "user_id,target_id,kind\n1,9,follow\n1,7,adores\n")
    adapter, lake = own(files), Lake(tmp_path / "lake")
    report = ingest(adapter, lake, Lake(tmp_path / "holdout"), hold_out=False)
    letters = pl.read_parquet(tmp_path / "lake" / "dead_letters" / "own.parquet")
    assert letters.columns == DEAD_LETTERS.names
    place = ["source_file", "source_row", "source_column", "source_value"]
    assert {row[:4]: row[4] for row in letters.select(*place, pl.col("reason").str.head(14)).rows()} == {
        ("events.jsonl", 9, "occurred_at", "soon"): "occurred_at is",
        ("posts.csv", 2, "post_id", None): "post_id is emp",
        ("users.csv", 2, "user_id", "x" * 600): "user_id (colum",
        ("users.csv", 3, None, None): "the line is no",
        ("edges.csv", 2, "kind", "adores"): "kind is none o",
    }
    assert letters.filter(source_file="posts.csv")["raw"].to_list() == ['{"post_id":null,"author_id":"9","language":"de"}']
    assert sum(report.malformed_by_reason.values()) == report.malformed == 1
    assert sorted(reason.partition(":")[0] for reason in report.left_out_by_reason) == ["edges", "posts", "users", "users"]
    assert any("1 rows are dead letters: edges: kind is none of" in line for line in told(report, timedelta(0)))
    assert (report.posts, report.edges) == (2, 1)
    assert ingest(own(files), lake, Lake(tmp_path / "holdout"), hold_out=False).left_out_by_reason == report.left_out_by_reason


def test_an_event_that_breaks_a_rule_of_the_contract_is_told_with_row_column_and_value(tmp_path: Path) -> None:
    rows = [event(n, liked=0) for n in range(6)]
    rows[1] |= {"event_id": "x" * 300}
    rows[2] |= {"chance": 2}
    rows[3] |= {"action": "dwell", "liked": 1}
    rows[4] |= {"liked": -3}
    liked = {"action": "like", "value": True, "at_most": -1}
    mapping = {"columns": {"propensity": "chance", "value": "seconds"}, "action_columns": {"liked": liked}}
    rows = [rows[0], {**rows[5], "user_id": None}, *rows[1:5], *(event(10 + n, liked=0) for n in range(9))]
    write_lines(tmp_path / "events.jsonl", [{"seconds": None, "chance": None, **row} for row in rows])
    dead = read(own(tmp_path, {"events": mapping})).dead
    assert dead.select("source_file", "source_row", "source_column", "source_value").rows() == [
        ("events.jsonl", 2, "user_id", None),
        ("events.jsonl", 3, "event_id", "x" * 300),
        ("events.jsonl", 4, "chance", "2"),
        ("events.jsonl", 5, "seconds", None),
        ("events.jsonl", 6, "liked", "-3"),
    ]
    assert dead["raw"].is_not_null().all() and '"chance":"2"' in dead["raw"][2]
