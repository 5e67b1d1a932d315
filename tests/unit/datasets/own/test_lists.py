"""Topics and attributes are names, any number of them, with durable codes; no list of nulls ever."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from feature_repo.content import Content
from feature_repo.datasets.adapter import MalformedFile
from feature_repo.event_log import read_table
from feature_repo.lake import Lake
from feature_repo.profiles import user_profiles
from tests.own_files import event, own, write_csv, write_lines


def topics(tmp_path: Path, values: list, mapping: dict | None = None) -> list[list[str]]:
    """The topics of posts 0, 1, 2, ... by name, after a round trip through their codes."""
    write_lines(tmp_path / "events.jsonl", [event(0)])
    frame = pl.DataFrame({"post_id": range(len(values)), "topics": values}, strict=False)
    frame.write_parquet(tmp_path / "posts.parquet")
    return _named(tmp_path, len(values), mapping)


def _named(tmp_path: Path, count: int, mapping: dict | None = None) -> list[list[str]]:
    adapter = own(tmp_path, mapping)
    codes = adapter.posts().filter(pl.col("post_id") < count).sort("post_id")["topics"]
    return [adapter.ids.names("topic", pl.Series(row, dtype=pl.Int32)).to_list() for row in codes.to_list()]


def test_names_in_lists_and_in_text(tmp_path: Path) -> None:
    assert topics(tmp_path / "a", [["news"], ["news", "sport"], [], None]) == [["news"], ["news", "sport"], [], []]
    assert topics(tmp_path / "b", ["news", "Action|Comedy", "", None]) == [["news"], ["Action", "Comedy"], [], []]
    assert topics(tmp_path / "c", ["['a', 'b']", "[]"]) == [["a", "b"], []]
    assert topics(tmp_path / "e", ['["c, d"]', '["e"]']) == [["c, d"], ["e"]]
    assert topics(tmp_path / "f", ["['a','b']", '["c, d","e"]', "[g, h]", "i|j"]) == [
        ["a", "b"],
        ["c, d", "e"],
        ["g", "h"],
        ["i", "j"],
    ]
    assert topics(tmp_path / "g", ["['c, d', \"it's\"]", '["\\ud800"]']) == [["c, d", "it's"], ["\\ud800"]]
    separator = {"posts": {"topics_separator": ","}}
    assert topics(tmp_path / "d", ["a, b", "c"], separator) == [["a", "b"], ["c"]]


def test_numbers_of_any_size_are_names(tmp_path: Path) -> None:
    assert topics(tmp_path / "a", [[3_000_000_000], [7]]) == [["3000000000"], ["7"]]
    assert topics(tmp_path / "b", [3_000_000_000, -1]) == [["3000000000"], ["-1"]]
    assert topics(tmp_path / "c", [3.0, None]) == [["3"], []]
    assert topics(tmp_path / "d", [Decimal(2**53 + 1), Decimal("7.0")]) == [["9007199254740993"], ["7"]]
    assert topics(tmp_path / "e", [[Decimal("9007199254740993.50")], [Decimal(10)]]) == [["9007199254740993.5"], ["10"]]
    assert topics(tmp_path / "g", [[], [1.0, 2.5], None, [3.0]]) == [[], ["1", "2.5"], [], ["3"]]
    assert topics(tmp_path / "f", ["[9007199254740993, 3.0, 1e3]"]) == [["9007199254740993", "3", "1000"]]


def test_json_lists_of_names_and_numbers(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    rows = [{"post_id": 0, "topics": ["news", 3_000_000_000]}, {"post_id": 1, "topics": None}, {"post_id": 2, "topics": "one"}]
    write_lines(tmp_path / "posts.jsonl", rows)
    assert _named(tmp_path, 3) == [["news", "3000000000"], [], ["one"]]


def test_codes_last_over_ingestions(tmp_path: Path) -> None:
    assert topics(tmp_path, [["b"], ["a"]]) == [["b"], ["a"]]
    first = own(tmp_path).posts().sort("post_id")["topics"].to_list()[:2]
    assert topics(tmp_path, [["b"], ["a"], ["c"]]) == [["b"], ["a"], ["c"]]
    assert own(tmp_path).posts().sort("post_id")["topics"].to_list()[:2] == first


def test_a_column_that_holds_no_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="column 'topics'.*holds no names|is a list of type"):
        topics(tmp_path / "a", [{"x": 1}])
    with pytest.raises(MalformedFile, match="column 'topics'.*is a list of type"):
        topics(tmp_path / "b", [[[1]]])


def attributes(tmp_path: Path, users: list[dict], mapping: dict | None = None) -> list[list[int]]:
    write_lines(tmp_path / "events.jsonl", [event(0, user_id=0)])
    write_lines(tmp_path / "users.jsonl", users)
    return own(tmp_path, mapping).users().sort("user_id")["attributes"].to_list()


def test_attributes_by_name_have_a_code_each_and_minus_one_where_empty(tmp_path: Path) -> None:
    users = [{"user_id": 0, "country": "FR", "age": "18-24"}, {"user_id": 1, "country": "DE"}, {"user_id": 2, "country": "FR"}]
    found = attributes(tmp_path, users, {"users": {"attributes": ["country", "age"]}})
    assert found[0][0] == found[2][0] != found[1][0]
    assert [row[1] for row in found] == [0, -1, -1]
    assert own(tmp_path).ids.names("attribute:country", pl.Series([found[1][0]], dtype=pl.Int32)).to_list() == ["DE"]


def test_codes_of_the_contract_stay_and_lists_of_text_are_encoded(tmp_path: Path) -> None:
    assert attributes(tmp_path / "a", [{"user_id": 0, "attributes": [4, -1]}]) == [[4, -1]]
    found = attributes(tmp_path / "b", [{"user_id": 0, "attributes": ["x", "y"]}, {"user_id": 1, "attributes": ["x", "z"]}])
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1]
    assert all(code is not None for row in found for code in row)


def test_lists_of_codes_are_brought_to_one_width(tmp_path: Path) -> None:
    users = [{"user_id": 0, "attributes": [4]}, {"user_id": 1, "attributes": [4, -1, 7]}, {"user_id": 2, "attributes": None}]
    assert attributes(tmp_path, users) == [[4, -1, -1], [4, -1, 7], [-1, -1, -1]]


def test_more_attributes_than_columns_all_reach_the_profile_of_a_user(tmp_path: Path) -> None:
    names = [f"a{place}" for place in range(60)]
    users = [{"user_id": 0} | dict.fromkeys(names, "x"), {"user_id": 1} | dict.fromkeys(names, "x")]
    users += [{"user_id": 2 + place} | dict.fromkeys(names, "x") | {name: "y"} for place, name in enumerate(names)]
    write_lines(tmp_path / "events.jsonl", [event(0, user_id=0)])
    write_lines(tmp_path / "users.jsonl", users)
    profiles = user_profiles(own(tmp_path, {"users": {"attributes": names}}).users().sort("user_id"))
    assert (profiles[0] == profiles[1]).all()
    differ = (profiles[2:] != profiles[0]).any(axis=1)
    assert differ[:12].all()
    assert differ[12:].mean() > 0.75  # two values of an attribute share a column in one of sixteen cases
    alone = user_profiles(own(tmp_path).users().sort("user_id").tail(1))
    assert (alone[0] == profiles[-1]).all()


def embedding(tmp_path: Path, values: list) -> list:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    write_csv(
        tmp_path / "posts.jsonl", "".join(json.dumps({"post_id": n, "embedding": v}) + "\n" for n, v in enumerate(values))
    )
    return own(tmp_path).posts().filter(pl.col("post_id") < len(values)).sort("post_id")["embedding"].to_list()


def test_an_embedding_is_a_list_of_floats_and_may_be_missing(tmp_path: Path) -> None:
    assert embedding(tmp_path, [[0.5, 1], None, [2, 0.25], []]) == [[0.5, 1.0], None, [2.0, 0.25], None]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([[1.0, 2.0], None, [1.0], [1.0, 2.0]], "row 3: this row has 1 numbers and most have 2"),
        ([[1.0, 2.0], [1.0, "x"]], "row 2: .*no finite number"),
        ([[1.0, None]], "row 1: .*no finite number"),
    ],
)
def test_embeddings_of_two_lengths_or_without_numbers_are_refused(tmp_path: Path, values: list, told: str) -> None:
    with pytest.raises(MalformedFile, match=f"column 'embedding'.*{told}"):
        embedding(tmp_path, values)


def test_embeddings_and_text_of_files_reach_the_vectors_of_a_snapshot(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0, post_id=9)])
    rows = [{"post_id": 1, "embedding": [3.0, 4.0]}, {"post_id": 2, "text": "a cat"}, {"post_id": 3, "text": "cat, a"}]
    write_lines(tmp_path / "posts.jsonl", rows)
    lake = Lake(tmp_path / "lake")
    lake.write("posts", own(tmp_path).posts(), "own")
    held = Content.of(read_table([lake], "posts", embeddings=True)).vectors  # posts 1, 2, 3, and 9 that only an event names
    assert held[0, :2].tolist() == pytest.approx([0.6, 0.8])
    assert held[1] @ held[2] == pytest.approx(1.0)
    assert not held[3].any()


def test_cells_of_posts_that_can_not_be_read_are_left_empty_and_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    rows = [
        {"post_id": 5, "created_at": "2025-01-01", "duration_ms": "long"},
        {"post_id": 6, "created_at": "2106-01-01"},
        {"post_id": None},
    ]
    write_lines(tmp_path / "posts.jsonl", rows)
    adapter = own(tmp_path)
    posts = adapter.posts().sort("post_id")
    assert posts["post_id"].to_list() == [5, 6] and posts["duration_ms"].to_list() == [None, None]
    side = adapter.side_rows()["posts"]
    assert any("'long' can't be read as duration_ms" in doubt for doubt in side.doubts)
    assert any("2106" in doubt for doubt in side.doubts)
    assert side.dead["reason"].to_list() == ["post_id is empty (column 'post_id'); give every row of posts an id"]


def test_a_post_that_stands_twice_is_kept_once(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    write_lines(tmp_path / "posts.jsonl", [{"post_id": 5, "text": "first"}, {"post_id": 5, "text": "second"}])
    adapter = own(tmp_path)
    assert adapter.posts()["text"].to_list() == ["first"]
    assert "1 rows repeat a post_id" in adapter.side_rows()["posts"].doubts[0]


def test_edges_of_ids_and_kinds(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0, user_id="anna", author_id="ben")])
    write_lines(
        tmp_path / "edges.jsonl",
        [{"user_id": "anna", "target_id": "ben"}, {"user_id": "anna", "target_id": "x", "kind": "likes"}],
    )
    adapter = own(tmp_path)
    edges = adapter.edges()
    good = adapter.tables().events
    assert edges.select("user_id", "target_id", "kind", "weight").rows() == [
        (good["user_id"][0], good["author_id"][0], "follow", 1.0)
    ]
    assert "kind is none of follow" in adapter.edge_rows.dead["reason"][0]
