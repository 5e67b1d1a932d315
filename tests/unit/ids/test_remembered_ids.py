"""A server knows its clients' ids mostly by heart, and asks the table once for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.ids import FIRST_ALLOTTED, IdTable, RememberedIds
from feature_repo.ids.remembered_ids import in_form, stranger_number


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'platform.db'}"


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Names of the table's methods that were called, in order."""
    calls: list[str] = []
    for name in ("numbers", "known", "texts"):
        method = getattr(IdTable, name)

        def told(self, *arguments, _name=name, _method=method):
            calls.append(_name)
            return _method(self, *arguments)

        monkeypatch.setattr(IdTable, name, told)
    return calls


def test_whole_numbers_are_answered_without_the_table(url, asked):
    ids = RememberedIds(url)
    for values in ([], [0, 7, FIRST_ALLOTTED - 1], ["7", 8]):
        assert ids.at_hand("post", values)
        assert ids.known("post", values).tolist() == [int(value) for value in values]
        assert ids.shown_at_hand("post", np.array([int(value) for value in values], np.int64))
    assert ids.shown("post", np.array([3, -1])) == [3, -1]
    assert ids.allotted("user", [5]) == [5]
    assert asked == []


def test_a_text_is_looked_up_once(url, asked):
    ids = RememberedIds(url)
    numbers = ids.allotted("user", ["ada", 7, "bob"])
    again = RememberedIds(url)
    del asked[:]
    assert not again.at_hand("user", ["ada", "bob"])
    assert again.known("user", ["bob", "ada", "7"]).tolist() == [numbers[2], numbers[0], 7]
    assert again.at_hand("user", ["ada", "bob", 7])
    assert again.known("user", ["ada"]).tolist() == [numbers[0]]
    assert asked == ["known"]


def test_a_stranger_has_a_number_that_nobody_else_has_until_it_is_allotted_one(url):
    ids = RememberedIds(url)
    first, second = ids.known("user", ["new", "newer"]).tolist()
    assert first == stranger_number("new") < 0
    assert first != second < 0
    assert ids.known_number("user", "new") is None
    assert IdTable(url).known_number("user", "new") is None
    (allotted,) = ids.allotted("user", ["new"])
    assert ids.known("user", ["new"]).tolist() == [allotted]


def test_answers_speak_the_form_of_their_kind(url):
    IdTable(url).set_form("post", "text")
    ids = RememberedIds(url)
    numbers = np.array(ids.allotted("post", ["a", "7", str(2**62)]))
    assert not RememberedIds(url).shown_at_hand("post", numbers)
    assert ids.shown("post", numbers) == ["a", "7", str(2**62)]
    assert ids.shown_at_hand("post", numbers)
    assert ids.shown("post", np.array([7, 8])) == ["7", "8"]
    assert ids.as_written("post", 7) == "7"
    assert ids.shown("user", np.array([7])) == [7]
    assert ids.as_written("user", "7") == 7
    assert ids.as_written("user", "007") == "007"


def test_a_form_that_an_ingestion_changed_is_read_again(url):
    ids = RememberedIds(url)
    IdTable(url).set_form("user", "text")
    assert ids.shown("user", np.array([7])) == [7]
    ids.reload()
    assert ids.shown("user", np.array([7])) == ["7"]


def test_authors_numbered_apart_are_always_looked_up(url):
    IdTable(url).set_authors_apart(True)
    ids = RememberedIds(url)
    (author,) = ids.allotted("author", [7])
    assert author >= FIRST_ALLOTTED
    assert ids.shown("author", np.array([author])) == [7]
    assert ids.known("author", ["7"]).tolist() == [author]
    assert ids.known("author", [8])[0] < 0


def test_no_more_is_kept_than_was_said(url, asked):
    ids = RememberedIds(url, users=2)
    ids.allotted("user", ["a", "b"])
    ids.known("user", ["a"])
    ids.allotted("user", ["c"])  # b was used least recently
    del asked[:]
    assert ids.at_hand("user", ["a", "c"])
    assert not ids.at_hand("user", ["b"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("7", 7), ("-5", -5), ("0", 0), (str(2**64 - 1), 2**64 - 1), (str(-(2**63)), -(2**63)), ("-0", "-0"), ("007", "007"),
        (str(2**64), str(2**64)), ("+7", "+7"), ("7.0", "7.0"), ("\u0667", "\u0667"), ("7\n", "7\n"),
    ],
)  # fmt: skip
def test_numbers_are_shown_as_numbers_where_that_is_their_text(text, shown):
    assert in_form(text, "number") == shown
    assert in_form(text, "text") == text
