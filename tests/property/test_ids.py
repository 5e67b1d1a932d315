"""Laws of ids: any text comes back as it was written, equal texts alone share a number, and the number is an int64."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from feature_repo.ids import FIRST_ALLOTTED, IdTable, id_texts, whole_numbers
from feature_repo.ids.id_texts import as_number, id_text

written = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["7", "007", "+7", " 7", "-0", str(2**53 + 1), str(2**62 - 1), str(2**62), str(2**63), str(-(2**63))]),
).filter(lambda text: pl.Series([text]).str.strip_chars()[0] != "")


@pytest.fixture(scope="module")
def ids(tmp_path_factory) -> IdTable:
    return IdTable(f"sqlite:///{tmp_path_factory.mktemp('ids') / 'platform.db'}")


@given(st.lists(written, min_size=1, max_size=12), st.sampled_from(["user", "author", "post"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was_written(ids, texts, kind):
    numbers = ids.numbers(kind, pl.Series(texts))
    assert numbers.dtype == pl.Int64
    assert numbers.min() >= 0
    assert ids.texts(kind, numbers).to_list() == texts
    assert len(set(numbers)) == len(set(texts))
    assert ids.known(kind, pl.Series(texts)).to_list() == numbers.to_list()


@given(written)
@example("\x1c")
@settings(max_examples=200, deadline=None)
def test_one_text_and_a_column_of_it_are_read_alike(text):
    column = id_texts(pl.Series([text]))
    assert column.to_list() == [id_text(text)]
    own = whole_numbers(column)[0]
    assert own == as_number(text)
    assert own is None or (0 <= own < FIRST_ALLOTTED and str(own) == text)


@given(st.lists(st.floats(width=64), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_float_is_read_without_loss_or_refused(values):
    try:
        texts = id_texts(pl.Series("user_id", values, pl.Float64))
    except ValueError as refused:
        assert str(refused).startswith("user_id: ")
        return
    assert [int(text) for text in texts] == values
