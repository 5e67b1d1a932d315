"""A malformed file is refused with a message that names the file, the column and the row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.kuairand.adapter import KuaiRand
from tests.unit.datasets.kuairand_folder import exposure, history, user, video, write_official, write_slice

LOG = "log_standard_4_08_to_4_21_pure.csv"
ROWS = [exposure(), exposure(2, 11), exposure(1, 11), exposure(2, 10)]


def refusal(folder: Path) -> MalformedFile:
    with pytest.raises(MalformedFile) as caught:
        KuaiRand(folder).tables()
    return caught.value


def assert_names(error: MalformedFile, file: str, column: str | None, row: int | None) -> None:
    assert file in str(error)
    assert (error.column, error.row) == (column, row)
    if column is not None:
        assert f"column {column!r}" in str(error)
    if row is not None:
        assert f"row {row}" in str(error)


def edit_cell(file: Path, row: int, column: str, value: str) -> None:
    """Overwrite one cell of a CSV file; `row` counts from 1 below the header."""
    lines = [line.split(",") for line in file.read_text().splitlines()]
    lines[row][lines[0].index(column)] = value
    file.write_text("\n".join(",".join(line) for line in lines) + "\n")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("time_ms", "yesterday", "'yesterday' is not a valid Int64"),
        ("video_id", "3.5", "'3.5' is not a valid Int64"),
        ("is_click", "2", "from 0 to 1"),
        ("is_like", "", "is empty"),
        ("user_id", "-4", "out of range"),
        ("time_ms", "1650900000", "out of range"),  # seconds, not milliseconds
        ("play_time_ms", "-1", "at least 0"),
        ("tab", "15", "from 0 to 14"),
        ("tab", "900", "900"),  # does not even fit the column's type
    ],
)
def test_a_bad_cell_of_a_log_is_named(tmp_path: Path, column: str, value: str, problem: str) -> None:
    write_official(tmp_path, ROWS)
    edit_cell(tmp_path / LOG, 2, column, value)
    error = refusal(tmp_path)
    assert_names(error, LOG, column, 2)
    assert problem in str(error)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write_official(tmp_path, ROWS)
    pl.read_csv(tmp_path / LOG).drop("long_view").write_csv(tmp_path / LOG)
    assert_names(refusal(tmp_path), LOG, "long_view", None)


def test_a_row_cut_short_is_named(tmp_path: Path) -> None:
    write_official(tmp_path, ROWS)
    file = tmp_path / LOG
    file.write_text(file.read_text().rstrip("\n").rsplit(",", 3)[0])
    error = refusal(tmp_path)
    assert LOG in str(error)
    assert error.row == 2


def test_a_row_with_too_many_fields_is_named(tmp_path: Path) -> None:
    write_official(tmp_path, ROWS)
    file = tmp_path / LOG
    file.write_text(file.read_text().rstrip("\n") + ",1,2,3\n")
    assert_names(refusal(tmp_path), LOG, None, 2)


@pytest.mark.parametrize("name", [LOG, "user_features_pure.csv", "video_features_basic_pure.csv"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    write_official(tmp_path, ROWS)
    (tmp_path / name).write_text("")
    assert_names(refusal(tmp_path), name, None, None)


@pytest.mark.parametrize("name", ["user_features_pure.csv", "video_features_basic_pure.csv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_official(tmp_path, ROWS)
    (tmp_path / name).unlink()
    assert_names(refusal(tmp_path), name, None, None)


def test_bytes_that_are_no_parquet_are_refused(tmp_path: Path) -> None:
    write_slice(tmp_path, ROWS)
    (tmp_path / "users.parquet").write_bytes(b"not a parquet file, whatever its name says")
    assert_names(refusal(tmp_path), "users.parquet", None, None)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    write_slice(tmp_path, ROWS)
    file = tmp_path / "exposures.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    assert_names(refusal(tmp_path), "exposures.parquet", None, None)


def test_a_parquet_column_of_text_is_named_with_its_first_bad_row(tmp_path: Path) -> None:
    write_slice(tmp_path, ROWS)
    file = tmp_path / "exposures.parquet"
    text = pl.read_parquet(file).with_columns(time_ms=pl.Series(["1650900000000", "1650900000001", "soon", "later"]))
    text.write_parquet(file)
    assert_names(refusal(tmp_path), "exposures.parquet", "time_ms", 3)


def test_a_parquet_column_that_should_be_a_list_is_named(tmp_path: Path) -> None:
    write_slice(tmp_path, ROWS, histories=[history()])
    file = tmp_path / "history_before_0425.parquet"
    pl.read_parquet(file).with_columns(last50_liked=pl.lit("10;11")).write_parquet(file)
    error = refusal(tmp_path)
    assert "history_before_0425.parquet" in str(error)
    assert error.column == "last50_liked"


@pytest.mark.parametrize(
    ("videos", "column", "row"),
    [
        ((video(10), video(11, upload_dt="10.04.2022")), "upload_dt", 2),
        ((video(10, tag="3;7"), video(11)), "tag", 1),
        ((video(10), video(11), video(10)), "video_id", 1),
    ],
)
def test_a_bad_video_is_named(tmp_path: Path, videos: tuple[dict, ...], column: str, row: int) -> None:
    write: list[Callable[..., Path]] = [write_slice, write_official]
    for number, layout in enumerate(write):
        folder = layout(tmp_path / str(number), ROWS, videos=videos)
        error = refusal(folder)
        assert "video" in str(error)
        assert (error.column, error.row) == (column, row)


def test_a_user_listed_twice_is_named(tmp_path: Path) -> None:
    error = refusal(write_slice(tmp_path, ROWS, users=(user(1), user(2), user(2))))
    assert_names(error, "users.parquet", "user_id", 2)
