"""Numbers of a column are read exactly, or named as lost."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from feature_repo.datasets.own.number_columns import cast_number
from tests.own_files import event, own, write_lines


def cast(values: list, kind: pl.DataType, given: pl.DataType | None = None) -> list[int | float | str]:
    """The numbers, with "lost" in the place of each that is."""
    numbers, lost = cast_number(pl.Series(values, dtype=given), kind)
    return ["lost" if gone else number for number, gone in zip(numbers, lost, strict=True)]


def test_whole_numbers_in_text_keep_their_last_digit() -> None:
    texts = ["9007199254740993.0", "9007199254740993", " 7 ", "1e3", "3.", "-0.0", "", None]
    assert cast(texts, pl.Int64()) == [2**53 + 1, 2**53 + 1, 7, 1000, 3, 0, None, None]
    assert cast([*texts[:2], "7"], pl.Int32()) == ["lost", "lost", 7]


@pytest.mark.parametrize(
    "text", ["1.5", "4503599627370497.25", "9223372036854775808.0", "1e19", "1e999999", "nan", "1_0.0", "x"]
)
def test_text_that_is_no_such_whole_number_is_lost(text: str) -> None:
    assert cast([text, "3.0"], pl.Int64()) == ["lost", 3]


def test_decimals_are_exact() -> None:
    assert cast([Decimal(2**53 + 1), Decimal("7.00")], pl.Int64()) == [2**53 + 1, 7]
    assert cast([Decimal("9007199254740993.5"), Decimal(7)], pl.Int64()) == ["lost", 7]
    assert cast([Decimal(2**53 + 1), Decimal(2**53), Decimal("0.1")], pl.Float64()) == ["lost", 2.0**53, 0.1]


def test_a_float_column_never_holds_another_whole_number() -> None:
    assert cast([16777217.0, 16777216.0, 0.5, 1e300], pl.Float32()) == ["lost", 16777216.0, 0.5, "lost"]
    assert cast([2**53 + 1, 2**53], pl.Float64()) == ["lost", 2.0**53]
    assert cast(["9007199254740993", " 1e23 ", "9007199254740992"], pl.Float64()) == ["lost", 1e23, 2.0**53]


def test_what_is_no_number_is_lost() -> None:
    assert cast([True, None], pl.Int64()) == ["lost", None]
    assert cast([float("nan"), float("inf"), 1.5], pl.Float64()) == ["lost", "lost", 1.5]
    assert cast([float("nan"), 2.0**63, -(2.0**63), 1.5], pl.Int64()) == ["lost", "lost", -(2**63), "lost"]


def test_a_weight_that_would_be_rounded_is_told(tmp_path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    weights = [16777217, 16777216, 0.1]
    write_lines(tmp_path / "edges.jsonl", [{"user_id": 1, "target_id": n, "weight": w} for n, w in enumerate(weights)])
    adapter = own(tmp_path)
    assert adapter.edges()["weight"].to_list() == [1.0, 16777216.0, pytest.approx(0.1)]
    assert any("'16777217' can't be read as weight" in doubt for doubt in adapter.edge_rows.doubts)
