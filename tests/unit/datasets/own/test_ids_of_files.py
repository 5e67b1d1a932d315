"""Ids of files are whole numbers or text; no reading makes two ids one."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.ids import FIRST_ALLOTTED
from tests.own_files import event, events_of, own, read, write_csv, write_lines


def users(tmp_path: Path, values: list) -> list[str | None]:
    """The ids as their owner writes them, after a round trip through their numbers."""
    adapter = own(events_of(tmp_path, "user_id", values))
    return adapter.ids.texts("user", read(adapter).good["user_id"]).to_list()


def test_whole_numbers_are_their_own_numbers(tmp_path: Path) -> None:
    adapter = own(events_of(tmp_path, "user_id", [0, 7, 2**62 - 1]))
    assert read(adapter).good["user_id"].to_list() == [0, 7, 2**62 - 1]
    assert adapter.ids.form("user") == "number"


def test_text_ids_are_allotted_numbers_and_answers_show_the_text(tmp_path: Path) -> None:
    adapter = own(events_of(tmp_path, "user_id", ["anna", "ben", "anna"]))
    numbers = read(adapter).good["user_id"].to_list()
    assert numbers[0] == numbers[2] != numbers[1]
    assert min(numbers) >= FIRST_ALLOTTED
    assert adapter.ids.form("user") == "text"
    assert [adapter.ids.text_of("user", number) for number in numbers] == ["anna", "ben", "anna"]


def test_texts_that_look_like_one_number_stay_three_users(tmp_path: Path) -> None:
    assert users(tmp_path / "a", ["007", "+7", "7", " 7"]) == ["007", "+7", "7", " 7"]
    write_csv(
        tmp_path / "b" / "events.csv",
        "user_id,post_id,action,occurred_at\n007,1,impression,2025-01-01\n7,1,impression,2025-01-01\n",
    )
    assert read(own(tmp_path / "b")).good["user_id"].n_unique() == 2


def test_numbers_below_zero_and_beyond_the_own_range_are_kept(tmp_path: Path) -> None:
    assert users(tmp_path, [-3, 2**62, 5]) == ["-3", str(2**62), "5"]
    assert users(tmp_path / "u", ["18446744073709551615", "99999999999999999999"]) == [
        "18446744073709551615",
        "99999999999999999999",
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1.7, 1.2], "1.7 is no whole number"),
        (["1.7", "1.0"], "1.7 is no whole number"),
        (["4503599627370497.25", "1.0"], "4503599627370497.25 is no whole number"),
        ([float(2**53), float(2**53) * 2], "digits are lost"),
        ([True, False], "of type Boolean"),
        (["true", "false"], "every value is true or false"),
        ([[1], [2]], "of type List"),
        ([float("nan"), 1.0], "nan is no whole number"),
    ],
    ids=str,
)
def test_columns_that_would_lose_an_id_are_refused_by_name(tmp_path: Path, values: list, told: str) -> None:
    with pytest.raises(MalformedFile, match=f"column 'user_id'.*{told}.*write"):
        users(tmp_path, values)


def test_a_float_column_of_whole_numbers_is_read_exactly(tmp_path: Path) -> None:
    assert users(tmp_path / "a", [1.0, 2.0**53 - 1]) == ["1", "9007199254740991"]
    assert users(tmp_path / "b", ["1.0", "2", "3.0"]) == ["1", "2", "3"]


def test_decimals_are_read_to_the_last_digit(tmp_path: Path) -> None:
    values = [Decimal(2**53 + 1), Decimal(2**62 - 1), Decimal(2**62), Decimal(10**37 + 1), Decimal(-3)]
    assert users(tmp_path / "a", values) == [str(value) for value in values]
    assert own(tmp_path / "a").ids.form("user") == "text"
    assert users(tmp_path / "b", [Decimal("7.00"), Decimal("100.00")]) == ["7", "100"]
    assert own(tmp_path / "b").ids.form("user") == "number"
    with pytest.raises(MalformedFile, match="9007199254740993.5 is no whole number"):
        users(tmp_path / "c", [Decimal("9007199254740993.5")])


def test_the_first_number_that_a_float_can_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="digits are lost"):
        users(tmp_path, [float(2**53 + 1)])


def test_a_large_integer_in_text_is_exact(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1, user_id=2**53 + 1), event(2, user_id=2**62 + 1)])
    adapter = own(tmp_path)
    assert adapter.ids.texts("user", read(adapter).good["user_id"]).to_list() == [str(2**53 + 1), str(2**62 + 1)]


@pytest.mark.parametrize(("value", "told"), [(True, "boolean"), ([1], "array"), ({"a": 1}, "object"), (1.5, "1.5 is no whole")])
def test_json_values_that_are_no_ids_are_refused_with_their_row(tmp_path: Path, value: object, told: str) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1), event(2, user_id=value)])
    with pytest.raises(MalformedFile, match=f"column 'user_id', row 2.*{told}"):
        read(own(tmp_path))


def test_text_beside_a_number_with_a_point_is_text(tmp_path: Path) -> None:
    assert users(tmp_path, ["v1", "1.5", "1.50"]) == ["v1", "1.5", "1.50"]


def test_users_and_authors_of_one_name_are_one_account_unless_numbered_apart(tmp_path: Path) -> None:
    rows = [event(1, user_id="anna", author_id="anna")]
    write_lines(tmp_path / "events.jsonl", rows)
    good = read(own(tmp_path)).good
    assert good["user_id"][0] == good["author_id"][0]
    write_lines(tmp_path / "b" / "events.jsonl", [event(1, user_id=7, author_id=7)])
    apart = read(own(tmp_path / "b", {"authors": "apart"})).good
    assert apart["user_id"][0] == 7 and apart["author_id"][0] >= FIRST_ALLOTTED


def test_posts_without_an_author_have_an_unknown_one_each(tmp_path: Path) -> None:
    rows = [{key: value for key, value in event(n, post_id=n % 3).items() if key != "author_id"} for n in range(6)]
    write_lines(tmp_path / "events.jsonl", rows)
    adapter = own(tmp_path)
    good = read(adapter).good
    assert good.select("post_id", "author_id").unique().height == 3
    assert good["author_id"].n_unique() == 3 and good["author_id"].min() >= FIRST_ALLOTTED
    assert set(adapter.posts().select("post_id", "author_id").rows()) == set(good.select("post_id", "author_id").rows())
    assert any("No author is given" in note for note in adapter.notes)


def test_authors_come_from_the_posts_where_events_name_none(tmp_path: Path) -> None:
    rows = [{key: value for key, value in event(n, post_id=n).items() if key != "author_id"} for n in range(2)]
    write_lines(tmp_path / "events.jsonl", rows)
    write_lines(tmp_path / "posts.jsonl", [{"post_id": 0, "author_id": 44}])
    good = read(own(tmp_path)).good.sort("post_id")
    assert good["author_id"][0] == 44 and good["author_id"][1] >= FIRST_ALLOTTED
