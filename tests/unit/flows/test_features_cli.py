"""`mixer features`: what it lists, shows and finds, and that its help costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from feature_repo.aggregates.catalogue import catalogue, features_of
from flows.cli.features import features

ROOT = Path(__file__).resolve().parents[3]


def answer(*words: str) -> str:
    """Output of `mixer features <words>`, which must succeed."""
    result = CliRunner().invoke(features, words, env={"COLUMNS": "220"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_list_counts_the_features_of_every_family():
    text = answer("list")
    assert f"{len(catalogue()):,} features in 12 families" in text
    assert all(family in text for family in ("user_author", "topic_hour", "user_product"))


def test_list_narrows_by_family_owner_and_statistic():
    listed = json.loads(answer("list", "--family", "user", "--statistic", "rate", "--json"))
    assert [one["name"] for one in listed] == [one.name for one in features_of("user") if one.statistic == "rate"]
    assert {one["owner"] for one in json.loads(answer("list", "--owner", "growth", "--json"))} == {"growth"}
    assert "user_hour.mute.since_s" in answer("list", "--family", "user_hour", "--statistic", "since_s")


def test_list_as_json_is_the_whole_catalogue():
    listed = json.loads(answer("list", "--json"))
    assert len(listed) == len(catalogue())
    assert all(one["description"] and one["formula"] and one["owner"] for one in listed)


def test_show_tells_formula_place_and_example():
    shown = json.loads(answer("show", "user_author.like.rate.7d", "--json"))
    assert shown["formula"] == "(like.count.7d + 5 x 0.015) / (impression.count.7d + 5)"
    assert shown["reads"] == "cells like, impression of the key"
    assert shown["computed_in"] == "feature_repo.aggregates.readings.faded, then feature_repo.aggregates.recipes.smoothed_rate"
    assert shown["value_if_never_seen"] == pytest.approx(0.015)
    assert shown["example"] == "a key with 20 impressions and 3 likes, 2 minutes ago: 0.122997"
    text = answer("show", "user.click.distinct_topics")
    assert "all time" in text
    assert "2 different topics" in " ".join(text.split())  # however wide the terminal is


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "user.clicks.total"), "the nearest are user.click.total"),
        (("list", "--family", "user_autor"), "did you mean user_author"),
        (("list", "--statistic", "zzz"), "no feature has statistic 'zzz'; there are count, sliding"),
        (("search", "zebra"), "hold all of 'zebra'; try fewer words"),
    ],
)
def test_what_does_not_exist_is_an_error_that_helps(words, message):
    with pytest.raises(ValueError, match=message):
        CliRunner().invoke(features, words, catch_exceptions=False)


def test_search_finds_by_words_and_says_how_much_it_left_out():
    text = answer("search", "bookmarks", "surface", "--limit", "3")
    assert text.count("user_product.bookmark") == 3
    assert "more: add words, or --limit" in text
    assert len(json.loads(answer("search", "bookmarks", "surface", "--json"))) > 3


def test_help_loads_no_library_that_only_the_answers_need():
    heavy = {"numpy", "polars", "pyarrow", "pandas", "feast", "ibis", "duckdb", "prefect", "torch"}
    program = f"import sys, flows.cli.features; print(sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
