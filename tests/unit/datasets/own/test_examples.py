"""The example files of docs/examples are read as their mappings say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from feature_repo.contracts import check_table
from feature_repo.datasets.own.adapter import OwnData
from feature_repo.datasets.own.check import check
from feature_repo.ids import IdTable

EXAMPLES = Path(__file__).resolve().parents[4] / "docs" / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())


def example(name: str, tmp_path: Path) -> OwnData:
    return OwnData(EXAMPLES / name, IdTable(f"sqlite:///{tmp_path / 'ids.sqlite'}"))


def test_there_are_four() -> None:
    assert NAMES == ["microblog", "music", "news", "shop"]


@pytest.mark.parametrize("name", NAMES)
def test_it_becomes_contract_tables_of_at_least_a_week(name: str, tmp_path: Path) -> None:
    tables = example(name, tmp_path).tables()
    for table in ("events", "posts", "users"):
        check_table(table, getattr(tables, table))
    assert tables.events["event_id"].is_unique().all()
    assert tables.events["occurred_at"].dt.date().n_unique() >= 8
    assert "impression" in tables.events["action"].to_list()
    assert tables.events.join(tables.posts, "post_id", how="anti").is_empty()
    assert tables.events.join(tables.users, "user_id", how="anti").is_empty()


@pytest.mark.parametrize("name", NAMES)
def test_check_accepts_it(name: str) -> None:
    assert check(EXAMPLES / name).refusals == []


def test_news_has_text_ids_and_times_of_its_zone(tmp_path: Path) -> None:
    adapter = example("news", tmp_path)
    events = adapter.tables().events
    assert adapter.ids.texts("user", events["user_id"]).str.starts_with("reader-").all()
    assert not adapter.derived_impressions
    assert set(events["product"]) == {"front page"} and set(events["action"]) == {"impression", "click"}
    assert events["occurred_at"].min().hour >= 11  # seven in the morning of New York


def test_shop_has_whole_numbers_own_actions_and_derived_impressions(tmp_path: Path) -> None:
    adapter = example("shop", tmp_path)
    events = adapter.tables().events
    assert events["user_id"].is_between(257_000, 257_100).all()
    assert {one.name for one in adapter.own_actions} == {"add to cart", "purchase"}
    assert adapter.derived_impressions and adapter.counts.sampled > 0


def test_music_makes_two_actions_of_one_column_and_numbers_artists_apart(tmp_path: Path) -> None:
    adapter = example("music", tmp_path)
    counts = dict(adapter.tables().events["action"].value_counts().iter_rows())
    assert counts["own_1"] > counts["own_3"] > 0
    assert adapter.ids.authors_apart()


def test_microblog_has_follows_text_topics_and_one_dead_row(tmp_path: Path) -> None:
    adapter = example("microblog", tmp_path)
    tables = adapter.tables()
    assert tables.malformed["reason"].to_list() == [
        "occurred_at is in the future, more than 1 h ahead: correct the clock or the zone"
    ]
    assert tables.edges.height > 5 and tables.posts["text"].null_count() == 0
    assert tables.posts["in_reply_to"].drop_nulls().is_in(tables.posts["post_id"].implode()).all()
    assert (tables.posts["topics"].list.len() >= 1).all() and (tables.users["attributes"].list.len() == 2).all()


def test_the_mappings_are_what_a_reader_copies(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "shop", tmp_path / "shop")
    assert example("shop", tmp_path).fingerprint() == OwnData(tmp_path / "shop", IdTable("sqlite://")).fingerprint()
