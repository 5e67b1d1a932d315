"""What is read in a quick way where a column allows it is what the general way reads, for any column."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.datasets.own.event_rows import blanks
from feature_repo.datasets.own.id_columns import is_own_number, own_numbers
from feature_repo.datasets.own.parquet_rows import plain_spans
from feature_repo.datasets.own.reader import BATCH_ROWS
from feature_repo.datasets.own.time_formats import ISO, Format
from tests.own_files import events_of, own, read

ISO_TIMES = st.builds(
    lambda moment, fraction, zone, mark: moment.strftime(f"%Y-%m-%d{mark}%H:%M:%S") + fraction + zone,
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["", ".5", ".250", ".123456", ".123456789"]),
    st.sampled_from(["", "Z", "+00:00", "+02:00", "-0530", "z"]),
    st.sampled_from(["T", " "]),
)
SPOILED = st.builds(
    lambda text, place, letter: text[:place] + letter + text[place + 1 :],
    ISO_TIMES,
    st.integers(0, 26),
    st.sampled_from("0123456789 +-:.TZé"),
)
NUMBERS = st.from_regex(r"[+-]?0?[0-9]{1,20}", fullmatch=True)


@given(st.lists(st.one_of(ISO_TIMES, SPOILED, st.none()), min_size=1, max_size=4), st.sampled_from(ISO))
def test_times_of_one_length_are_read_as_the_whole_pattern_reads_them(values: list[str | None], form: Format) -> None:
    texts = pl.Series("t", values, pl.String)
    quick = form.parse_alike(texts, "Europe/Paris")
    if quick is not None:
        # A first value of another length makes the quick way impossible.
        whole = form.parse(pl.concat([pl.Series("t", ["-"], pl.String), texts]), "Europe/Paris")[1:]
        assert quick.equals(whole, check_dtypes=True, null_equal=True)


def test_plain_iso_times_are_read_in_the_quick_way() -> None:
    texts = pl.Series("t", ["2025-03-04T05:06:07.123456Z", None, "2025-03-04T05:06:08.000000Z"])
    read_ = ISO[0].parse_alike(texts, "UTC")
    assert read_ is not None and read_[0] == datetime(2025, 3, 4, 5, 6, 7, 123456, UTC)


@given(st.lists(st.one_of(NUMBERS, st.text(max_size=4), st.none()), min_size=1, max_size=5))
def test_texts_are_own_numbers_together_where_each_is_one(values: list[str | None]) -> None:
    texts = pl.Series("t", values, pl.String)
    given_ = texts.drop_nulls()
    numbers = own_numbers(texts)
    assert (numbers is not None) == (given_.len() > 0 and bool(is_own_number(given_).all()))
    if numbers is not None:
        assert numbers.to_list() == [None if value is None else int(value) for value in values]


@given(
    st.lists(st.one_of(st.text(max_size=3), st.text("\t \u00a0\u2003\u3000", max_size=3), st.none()), min_size=1, max_size=5)
)
def test_blanks_are_the_texts_that_stripping_leaves_empty(values: list[str | None]) -> None:
    found = blanks(pl.Series("t", values, pl.String))
    wanted = [value is not None and pl.Series([value]).str.strip_chars()[0] == "" for value in values]
    assert (found.to_list() if found is not None else [False] * len(values)) == wanted


@pytest.mark.parametrize("groups", [1, 2, 40])
def test_plain_parquet_gives_the_rows_that_duckdb_gives(tmp_path: Path, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = events_of(tmp_path, "position", [1, None, 3] * 40)
    frame = pl.read_parquet(folder / "events.parquet").with_columns(user_id=pl.int_range(pl.len()))
    frame.write_parquet(folder / "events.parquet", row_group_size=120 // groups)
    assert plain_spans(folder / "events.parquet", frame.columns, BATCH_ROWS) == [120]
    assert sum(plain_spans(folder / "events.parquet", frame.columns, 50, limit=70)) == 70
    plain = read(own(folder))
    monkeypatch.setattr("feature_repo.datasets.own.reader.plain_spans", lambda *_: None)
    assert read(own(folder)).good.equals(plain.good) and plain.good.height == 120


def test_parquet_with_large_row_groups_or_other_types_is_left_to_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = events_of(tmp_path, "value", [[1.0], [2.0]]) / "events.parquet"
    assert plain_spans(file, ["value"], BATCH_ROWS) is None
    assert plain_spans(file, ["user_id"], BATCH_ROWS) == [2]
    monkeypatch.setattr("feature_repo.datasets.own.parquet_rows.MOST_GROUP_ROWS", 1)
    assert plain_spans(file, ["user_id"], BATCH_ROWS) is None
