"""A quote that is not closed takes no other row with it unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.datasets.own.check import check
from tests.own_files import write_csv

HEADER = "user_id,post_id,occurred_at,action\n"


def rows(first: int, number: int) -> str:
    return "".join(f"u{n},p{n % 7},2025-01-01T10:00:00Z,click\n" for n in range(first, first + number))


def test_a_quote_that_swallows_the_rest_of_the_file_is_refused_with_its_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", HEADER + rows(0, 200) + 'u,"p1,2025-01-01T10:00:00Z,click\n' + rows(300, 300))
    (refusal,) = check(tmp_path).refusals
    assert "events.csv, row 201: a quote in this row is not closed" in refusal


def test_a_quote_that_is_closed_far_below_is_refused_too(tmp_path: Path) -> None:
    late = 'u,p",2025-01-01T10:00:00Z,click\n'
    write_csv(tmp_path / "events.csv", HEADER + rows(0, 50) + 'u,"p1,x,click\n' + rows(300, 300) + late + rows(700, 20))
    (refusal,) = check(tmp_path).refusals
    assert "events.csv, row 51: a quote in this row is not closed" in refusal


@pytest.mark.parametrize("table", ["posts", "users"])
def test_of_the_other_tables_too(tmp_path: Path, table: str) -> None:
    write_csv(tmp_path / "events.csv", HEADER + rows(0, 20))
    column = {"posts": "post_id", "users": "user_id"}[table]
    write_csv(tmp_path / f"{table}.csv", f'{column},language\na,en\n"b,en\nc,de\nd,fr\n')
    (refusal,) = check(tmp_path).refusals
    assert f"{table}.csv, row 2: a quote in this row is not closed" in refusal


def test_a_last_row_with_an_open_quote_is_one_row_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", HEADER + rows(0, 20) + 'u,"p1,2025-01-01T10:00:00Z,click\n')
    report = check(tmp_path)
    assert report.accepted and report.events == 40  # each with the impression that it implies
    assert [(fault.count, "a quote is not closed" in fault.reason) for fault in report.faults.values()] == [(1, True)]
