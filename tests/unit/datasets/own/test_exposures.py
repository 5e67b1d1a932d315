"""Where the files have no impressions they are derived, with sampled posts beside them; all of it is labelled."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from tests.own_files import START, event, own, read, write_lines


def plays(count: int, users: int = 4, posts: int = 9) -> list[dict]:
    """`count` clicks, one an hour, each user in turn."""
    at = [(START + timedelta(hours=place)).isoformat() for place in range(count)]
    return [
        event(place, user_id=place % users, post_id=place * 7 % posts, action="click", occurred_at=at[place])
        for place in range(count)
    ]


def test_one_impression_per_user_post_and_session_at_the_first_interaction(tmp_path: Path) -> None:
    at = [START, START + timedelta(minutes=5), START + timedelta(minutes=10), START + timedelta(hours=3)]
    rows = [event(n, action=action, occurred_at=moment.isoformat()) for n, (action, moment) in enumerate(zip(
        ["click", "like", "click", "click"], at, strict=True))]  # fmt: skip
    write_lines(tmp_path / "events.jsonl", rows)
    adapter = own(tmp_path)
    shown = read(adapter).good.filter(action="impression")
    assert adapter.derived_impressions
    assert shown.select("user_id", "post_id", "product", "occurred_at").rows() == [(1, 5, "home", at[0]), (1, 5, "home", at[3])]
    assert shown["request_id"].n_unique() == 2


def test_a_derived_impression_has_the_surface_and_author_of_its_first_interaction(tmp_path: Path) -> None:
    first = event(1, action="click", product="search", author_id=9, occurred_at=START.isoformat())
    second = event(2, action="click", product="home", author_id=4, occurred_at=(START + timedelta(minutes=5)).isoformat())
    for number, rows in enumerate(([first, second], [second, first])):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_lines(folder / "events.jsonl", rows)
        adapter = own(folder)
        shown = read(adapter).good.filter(action="impression")
        assert shown.select("product", "author_id", "occurred_at").rows() == [("search", 9, START)]
        assert adapter.posts().select("post_id", "author_id").rows() == [(5, 9)]


def test_the_request_of_the_files_parts_sessions(tmp_path: Path) -> None:
    rows = [event(n, action="click", request_id=request) for n, request in enumerate(["a", "b", "a"])]
    write_lines(tmp_path / "events.jsonl", rows)
    assert sorted(read(own(tmp_path)).good.filter(action="impression")["request_id"]) == ["a", "b"]


def test_a_request_that_comes_back_after_a_pause_is_another_visit(tmp_path: Path) -> None:
    """One impression at the first of them would be out of every attribution window when the second came."""
    rows = [event(n, day=day, action="click", request_id="always") for n, day in enumerate((0, 4, 5))]
    write_lines(tmp_path / "events.jsonl", rows)
    shown = read(own(tmp_path)).good.filter(action="impression").sort("occurred_at")
    assert shown["request_id"].to_list() == ["always", "always-2", "always-3"]
    assert shown["occurred_at"].to_list() == [START + timedelta(days=day) for day in (0, 4, 5)]


def test_sampled_posts_were_known_before_and_never_met_by_the_user(tmp_path: Path) -> None:
    rows = plays(200, users=7, posts=40)
    write_lines(tmp_path / "events.jsonl", rows)
    adapter = own(tmp_path)
    good = read(adapter).good
    sampled = good.filter(pl.col("event_id").str.starts_with("sampled-"))
    acted = good.filter(action="click")
    assert sampled.height == adapter.counts.sampled > adapter.counts.derived
    assert sampled.join(acted, ["user_id", "post_id"], how="semi").is_empty()
    first = acted.group_by("post_id").agg(first=pl.col("occurred_at").min())
    assert sampled.join(first, "post_id").filter(pl.col("first") >= pl.col("occurred_at")).is_empty()
    beside = good.filter(pl.col("event_id").str.starts_with("derived-"))
    assert sampled.join(beside, ["user_id", "request_id", "occurred_at"], how="anti").is_empty()


def test_popular_posts_are_sampled_more_often(tmp_path: Path) -> None:
    at = [(START + timedelta(minutes=place)).isoformat() for place in range(600)]
    rows = [event(n, user_id=n, post_id=1 if n % 10 else 2, action="click", occurred_at=at[n]) for n in range(600)]
    rows += [event(n, day=1, user_id=n, post_id=3, action="like") for n in range(700, 1_000)]
    write_lines(tmp_path / "events.jsonl", rows)
    good = read(own(tmp_path)).good
    sampled = good.filter(pl.col("event_id").str.starts_with("sampled-") & (pl.col("user_id") >= 700))
    counts = dict(sampled["post_id"].value_counts().iter_rows())
    assert counts[1] > 1.5 * counts.get(2, 0) > 0


def test_equal_files_and_seed_give_equal_draws_and_another_seed_does_not(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", plays(100, posts=30))
    first, second = read(own(tmp_path)).good, read(own(tmp_path)).good
    assert first.equals(second)
    assert not first.equals(read(own(tmp_path, {"seed": 8})).good)


def test_event_ids_are_unique_and_all_of_it_is_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", plays(100))
    adapter = own(tmp_path)
    good = read(adapter).good
    assert good["event_id"].n_unique() == good.height
    assert (adapter.derived_impressions, adapter.sampled_negatives) == (True, 4)
    assert "Calibration" in adapter.notes[0] and "off-policy" in adapter.notes[0] and "4 posts were sampled" in adapter.notes[1]


def test_files_with_impressions_derive_none(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1), event(2, action="click")])
    adapter = own(tmp_path)
    assert read(adapter).good.height == 2
    assert (adapter.derived_impressions, adapter.sampled_negatives) == (False, 0)
    assert not any("derived" in note for note in adapter.notes)


def test_no_samples_are_drawn_where_none_are_wanted(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", plays(30))
    adapter = own(tmp_path, {"negatives": 0})
    assert read(adapter).good.filter(pl.col("event_id").str.starts_with("sampled-")).is_empty()
    assert adapter.counts.derived == 30
