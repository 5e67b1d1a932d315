"""Ids keep what their owner wrote, and no two of them ever share a number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from feature_repo.ids import FIRST_ALLOTTED, IdError, IdTable
from infra import database

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def ids(tmp_path) -> IdTable:
    return IdTable(f"sqlite:///{tmp_path / 'platform.db'}")


def test_a_whole_number_below_2_62_is_its_own_number(ids):
    assert ids.numbers("user", pl.Series(["0", "7", str(FIRST_ALLOTTED - 1)])).to_list() == [0, 7, FIRST_ALLOTTED - 1]
    assert ids.numbers("user", pl.Series([0, 2**53 + 1, FIRST_ALLOTTED - 1])).to_list() == [0, 2**53 + 1, FIRST_ALLOTTED - 1]


def test_whole_numbers_never_reach_the_database(tmp_path):
    table = IdTable(f"sqlite:///{tmp_path / 'never' / 'platform.db'}")
    for kind in ("user", "post"):
        numbers = table.numbers(kind, pl.Series([3, 1]))
        assert table.texts(kind, numbers).to_list() == ["3", "1"]
        assert table.known(kind, pl.Series(["3"])).to_list() == [3]
        assert (table.number_of(kind, "5"), table.text_of(kind, 5)) == (5, "5")
    assert not (tmp_path / "never").exists()


def test_what_only_resembles_a_whole_number_is_another_id(ids):
    written = ["7", "007", "+7", " 7", "7 ", "7.0", "\u0667", "-7", "-0", str(2**62), str(2**63), str(10**30)]
    numbers = ids.numbers("user", pl.Series(written))
    assert numbers.n_unique() == len(written)
    assert numbers[0] == 7
    assert numbers[1:].min() >= FIRST_ALLOTTED
    assert ids.texts("user", numbers).to_list() == written


def test_integers_outside_the_range_get_a_number_and_keep_their_text(ids):
    numbers = ids.numbers("post", pl.Series([-1, 5, 2**62]))
    assert numbers[1] == 5
    assert ids.texts("post", numbers).to_list() == ["-1", "5", str(2**62)]
    assert ids.numbers("post", pl.Series(["-1"])).to_list() == [numbers[0]]


def test_a_second_look_gives_the_same_numbers_and_allots_nothing(ids):
    first = ids.numbers("user", pl.Series(["b", "a", "b"]))
    again = ids.numbers("user", pl.Series(["a", "b", "c"]))
    assert first.to_list() == [first[0], again[0], again[1]]
    assert again[2] == max(first) + 1


def test_known_allots_nothing(ids):
    assert ids.known("user", pl.Series(["new", "7"])).to_list() == [None, 7]
    assert ids.known_number("user", "new") is None
    assert ids.number_of("user", "first") == FIRST_ALLOTTED


def test_kinds_share_one_sequence_and_no_ids(ids):
    assert ids.number_of("user", "x") != ids.number_of("post", "x")
    assert ids.texts("post", pl.Series([ids.number_of("user", "x")])).to_list() == [None]


def test_users_and_authors_are_the_same_accounts(ids):
    assert ids.number_of("user", "ada") == ids.number_of("author", "ada")
    assert ids.number_of("author", "7") == 7


def test_authors_numbered_apart_never_meet_a_user(ids):
    ids.set_authors_apart(True)
    author = ids.number_of("author", "7")
    assert author >= FIRST_ALLOTTED
    assert ids.numbers("author", pl.Series([7])).to_list() == [author]
    assert ids.text_of("author", author) == "7"
    assert ids.number_of("user", "7") == 7
    assert ids.number_of("author", "ada") != ids.number_of("user", "ada")


def test_the_form_of_a_kind_is_durable(ids, tmp_path):
    assert ids.form("user") == "number"
    ids.set_form("user", "text")
    ids.set_authors_apart(True)
    other = IdTable(f"sqlite:///{tmp_path / 'platform.db'}")
    assert (other.form("user"), other.form("author"), other.authors_apart()) == ("text", "number", True)
    with pytest.raises(ValueError, match="form 'words' of 'user' ids is none of"):
        ids.set_form("user", "words")


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        (pl.Series("user_id", ["a", ""]), "user_id: '' in row 1 is empty or blank"),
        (pl.Series("user_id", ["a", " \u2003\t"]), "in row 1 is empty or blank"),
        (pl.Series("user_id", ["a", None]), "user_id: 'None' in row 1 is null"),
        (pl.Series("user_id", ["a\0b"]), "holds a NUL character"),
        (pl.Series("user_id", ["a" * 513]), "is longer than 512 characters"),
        (pl.Series("user_id", [1.0, 1.7]), "user_id: '1.7' in row 1 has a fraction"),
        (pl.Series("user_id", [float("nan")]), "is not a whole number"),
        (pl.Series("user_id", [float("inf")]), "is not a whole number"),
        (pl.Series("user_id", [float(2**53 + 1)]), "is too large for Float64"),
        (pl.Series("user_id", [-float(2**53)]), "is too large for Float64"),
        (pl.Series("user_id", [float(2**24)], pl.Float32), "is too large for Float32"),
        (pl.Series("user_id", ["1.50"]).cast(pl.Decimal(10, 2)), "has a fraction"),
        (pl.Series("user_id", [True]), "user_id: a column of type Boolean holds no ids"),
        (pl.Series("user_id", [[1]]), "holds no ids"),
        (pl.Series("user_id", [None]), "is null"),
    ],
)
def test_what_is_no_id_is_refused_by_name(ids, column, fault):
    for look in (ids.numbers, ids.known):
        with pytest.raises(IdError) as refused:
            look("user", column)
        assert fault in str(refused.value)


@pytest.mark.parametrize("value", ["", " ", True, 1.0, None, "a\0b", "a" * 513, 1 << 2000, "\ud800"])
def test_one_value_that_is_no_id_is_refused_by_name(ids, value):
    with pytest.raises(IdError, match="^user: "):
        ids.number_of("user", value)


def test_whole_floats_and_decimals_are_whole_numbers(ids):
    assert ids.numbers("user", pl.Series([0.0, -0.0, 2.0**53 - 1])).to_list() == [0, 0, 2**53 - 1]
    assert ids.numbers("user", pl.Series(["7.00", "-0.0"]).cast(pl.Decimal(10, 2))).to_list() == [7, 0]
    assert ids.numbers("user", pl.Series(["b", "b"], dtype=pl.Categorical)).n_unique() == 1


def test_an_unknown_number_has_no_text(ids):
    assert ids.texts("user", pl.Series([FIRST_ALLOTTED + 3, None, 4], dtype=pl.Int64)).to_list() == [None, None, "4"]


def test_an_unknown_kind_is_refused(ids):
    with pytest.raises(ValueError, match="ids of kind 'pots' are none of user, author, post"):
        ids.number_of("pots", "x")


def test_codes_count_from_zero_by_kind_and_last(ids, tmp_path):
    assert ids.codes("topic", pl.Series(["sport", None, "news", "sport"])).to_list() == [0, None, 1, 0]
    other = IdTable(f"sqlite:///{tmp_path / 'platform.db'}")
    assert other.codes("topic", pl.Series(["art", "news"])).to_list() == [2, 1]
    assert other.codes("attribute:country", pl.Series(["NZ"])).to_list() == [0]
    assert ids.names("topic", pl.Series([2, 0, 9, None])).to_list() == ["art", "sport", None, None]
    assert ids.known_codes("topic", pl.Series(["art", "film"])).to_list() == [2, None]
    assert ids.all_names("topic") == ["sport", "news", "art"]
    assert ids.codes("topic", pl.Series([], dtype=pl.String)).to_list() == []


def test_a_blank_name_gets_no_code(ids):
    with pytest.raises(IdError, match="topics: ' ' in row 1 is empty or blank"):
        ids.codes("topic", pl.Series("topics", ["a", " "]))


ALLOT = """
import sys, polars as pl
from feature_repo.ids import IdTable
table = IdTable(sys.argv[1])
table.form("user")
print("ready", flush=True)
sys.stdin.readline()
for start in range(0, 2_000, 250):
    texts = [f"u{start + place + int(sys.argv[2])}" for place in range(250)]
    table.numbers("user", pl.Series(texts))
    table.codes("topic", pl.Series(texts[:3]))
"""


@pytest.mark.slow
def test_two_processes_that_allot_at_once_give_no_number_twice(tmp_path):
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", ALLOT, url, str(first)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for first in (0, 1_000)  # 1,000 ids are both workers'
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.wait() for worker in workers] == [0, 0]
    for worker in workers:
        worker.communicate()
    texts = pl.Series([f"u{place}" for place in range(3_000)])
    numbers = IdTable(url).known("user", texts)
    assert sorted(numbers) == list(range(FIRST_ALLOTTED, FIRST_ALLOTTED + 3_000))
    assert len(IdTable(url).all_names("topic")) == len(set(IdTable(url).all_names("topic"))) == 36


def test_ids_that_another_process_allotted_first_are_taken_over(ids, tmp_path, monkeypatch):
    """Between the look-up and the lock another process allots the same id."""
    other = IdTable(f"sqlite:///{tmp_path / 'platform.db'}")
    theirs: list[int] = []

    def come_first(engine):
        monkeypatch.undo()
        theirs.append(other.number_of("user", "new"))
        return database.write_transaction(engine)

    ids.form("user")
    monkeypatch.setattr("feature_repo.ids.id_table.write_transaction", come_first)
    numbers = ids.numbers("user", pl.Series(["new", "newer"]))
    assert numbers.to_list() == [theirs[0], theirs[0] + 1]
