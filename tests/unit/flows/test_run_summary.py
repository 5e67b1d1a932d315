"""`mixer run` tells people what a flow returned, and machines the same as JSON."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.cli import run as run_cli
from flows.cli.run_summary import MOST_ROWS, print_summary


def said(result: object) -> str:
    out = Console(file=io.StringIO(), width=120)
    print_summary("drift", result, out)
    return out.file.getvalue()


def test_values_stand_beside_their_names_in_words():
    text = said({"model_version": "2", "train_rows": 12_127, "drifted_share": 0.0123456, "sampled": True, "planted": None})
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[1:] == ["model version 2", "train rows 12,127", "drifted share 0.01235", "sampled yes"]


def test_alike_things_are_a_table_and_a_long_one_says_how_much_it_leaves_out():
    columns = [{"column": f"feature {n}", "psi": n / 10, "worst": [n]} for n in range(MOST_ROWS + 5)]
    text = said({"verdict": "retrain", "columns": columns})
    assert "feature 9" in text
    assert "feature 10" not in text
    assert "and 5 more" in text
    assert "`mixer run drift --json` prints all of it" in text


def test_what_is_told_by_name_is_a_table_too():
    text = said({"tables": {"events": {"rows": 43_228, "quarantined": 0}, "posts": {"rows": 800, "quarantined": 3}}})
    assert [line.split() for line in text.splitlines() if "43,228" in line] == [["│", "events", "│", "43,228", "│", "0", "│"]]


@pytest.mark.parametrize("result", [None, [], {}, [1, 2], "done", {"a": {"b": {"c": {"d": 1}}}}, {"[red]": "[/bold]"}])
def test_whatever_a_flow_returns_can_be_told(result):
    assert "flow drift is done" in said(result)


def test_a_short_result_is_not_called_shortened():
    assert "shortened" not in said({"release": "r2", "history": [{"state": "built", "actor": "flow", "reason": "it was"}]})


def test_a_page_of_the_flow_is_shown_as_one():
    assert "│" not in said({"markdown": "# Gate\n\nall is well"})
    assert "all is well" in said({"gate": {"markdown": "# Gate\n\nall is well"}})


@pytest.fixture
def command(monkeypatch):
    import flows.reconcile

    monkeypatch.setattr(run_cli, "apply_environment", lambda: None)
    monkeypatch.setattr(flows.reconcile, "reconcile_flow", lambda: [{"release": "r1", "state": "live", "arm": "http://h:1"}])
    return lambda *words: CliRunner().invoke(run_cli.run, ["reconcile", *words]).output


def test_the_command_prints_a_table(command):
    assert "flow reconcile is done" in command()
    assert "http://h:1" in command()


def test_the_command_prints_json_where_asked(command):
    assert json.loads(command("--json")) == [{"release": "r1", "state": "live", "arm": "http://h:1"}]
