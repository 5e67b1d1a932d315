"""Columns of actions, one row per exposure: numbers and the usual words are read, anything else is told by row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from feature_repo.datasets.own.actions import as_numbers
from feature_repo.datasets.own.adapter import OwnData
from tests.own_files import event, events_of, own, read, write_csv, write_lines

WATCHED = {"watched_s": {"action": "dwell", "value": True}}


def wide(folder: Path, cells: list[str], rules: dict, **mapping: object) -> OwnData:
    """The adapter of a file with `cells` in the one column of `rules`, one exposure each."""
    (column,) = rules
    lines = [f"{n},5,2025-01-01,{cell}" for n, cell in enumerate(cells)]
    write_csv(folder / "events.csv", "\n".join([f"user_id,post_id,occurred_at,{column}", *lines]) + "\n")
    return own(folder, {"events": {"impressions": "rows", "action_columns": rules, **mapping}})


@pytest.mark.parametrize(
    ("told", "left"), [("yes", "no"), ("Y", "N"), ("true", "FALSE"), ("t", "f"), (" On", "off "), ("x", ""), ("1", "0")]
)
def test_words_for_yes_and_no_are_read(tmp_path: Path, told: str, left: str) -> None:
    split = read(wide(tmp_path, [told, left, told], {"clicked": "click"}))
    assert split.good.filter(action="click")["user_id"].to_list() == [0, 2]
    assert split.good.filter(action="impression").height == 3 and not split.dead.height


def test_a_cell_that_is_neither_is_a_dead_row_with_its_column_and_value(tmp_path: Path) -> None:
    split = read(wide(tmp_path, ["yes", "perhaps", "no", "nan", "1e999", "2"], {"clicked": "click"}))
    assert split.good.filter(action="click")["user_id"].to_list() == [0, 5]
    assert split.dead.select("source_row", "source_column", "source_value").rows() == [
        (2, "clicked", "perhaps"),
        (4, "clicked", "nan"),
        (5, "clicked", "1e999"),
    ]
    assert "action column 'clicked' holds neither a number nor a word such as yes" in split.dead["reason"][0]


def test_a_column_of_another_type_is_told_by_row(tmp_path: Path) -> None:
    folder = events_of(tmp_path, "clicked", [[1], None, None])
    split = read(own(folder, {"events": {"impressions": "rows", "action_columns": {"clicked": "click"}}}))
    assert split.dead["source_value"].to_list() == ["[1]"]
    assert split.good["event_id"].to_list() == ["e1", "e2", "e1", "e2"]  # of the action column and of the rows, dropped later


def test_an_action_column_beside_columns_of_actions_gives_each_event_an_id_of_its_own(tmp_path: Path) -> None:
    rows = [event(0, action="impression", liked=1), event(1, action="click", liked="yes")]
    write_lines(tmp_path / "events.jsonl", rows)
    good = read(own(tmp_path, {"events": {"action_columns": {"liked": "like"}}})).good
    assert sorted(good["event_id"]) == ["e0", "e0:like", "e1:click", "e1:like"]


def test_true_is_1_in_a_column_of_truths_and_nothing_stays_nothing() -> None:
    numbers, lost = as_numbers(pl.Series([True, False, None]))
    assert numbers.to_list() == [1.0, 0.0, None] and not lost.any()


def test_values_of_an_action_column_are_brought_to_milliseconds(tmp_path: Path) -> None:
    rules = {"watched_s": {"action": "dwell", "value": True, "at_least": 3}}  # a threshold is in the column's own unit
    good = read(wide(tmp_path, ["30", "2.5", "0"], rules, value_times=1000)).good
    assert good.filter(action="dwell").select("user_id", "value").rows() == [(0, 30_000.0)]
    assert read(wide(tmp_path, ["30"], WATCHED)).good.filter(action="dwell")["value"].to_list() == [30.0]
