"""The suite's own order: every file and folder that it names exists, and units are what they are said to be."""

from __future__ import annotations

from pathlib import Path

from tests.work_units import LONGEST_FILES, SHARED_FOLDERS, place_of, unit_of

ROOT = Path(__file__).resolve().parents[2]


def test_every_place_that_it_names_exists():
    assert [name for name in (*LONGEST_FILES, *SHARED_FOLDERS) if not (ROOT / name).exists()] == []


def test_a_unit_is_a_file_or_a_folder_that_shares_its_fixtures():
    assert unit_of("tests/unit/test_lake.py::test_one[a::b]") == "tests/unit/test_lake.py"
    assert unit_of(f"{SHARED_FOLDERS[0]}test_bento.py::test_one") == unit_of(f"{SHARED_FOLDERS[0]}test_events.py::test_two")


def test_the_longest_files_come_first_in_their_order():
    nodes = ["tests/bench/test_rows.py::test_a", *(f"{file}::test_b" for file in reversed(LONGEST_FILES))]
    assert sorted(nodes, key=place_of) == [*reversed(nodes[1:]), nodes[0]]
