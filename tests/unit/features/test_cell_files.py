"""Cells in files: computed in any number of passes they are the same, and a run that fails leaves the old ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from feature_repo.aggregates import cell_files
from feature_repo.aggregates.batch_cells import to_cells
from feature_repo.aggregates.batch_engine import EngineLimits, open_engine
from feature_repo.aggregates.cell_files import CodedEventsMissing, cell_parts, code_event_files, passes_needed, write_cells
from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.families import FAMILY_OF
from feature_repo.aggregates.packed_keys import pack_keys
from tests.catalogue_events import NOW_US, catalogue_events
from tests.closed_formula import assert_same_cells, remembered

pytestmark = pytest.mark.slow  # each test runs the batch engine several times

USER_AUTHOR = FAMILY_OF["user_author"]


@pytest.fixture
def limits(tmp_path) -> EngineLimits:
    return EngineLimits(tmp_path / "scratch", memory_gb=0.5, threads=1)


@pytest.fixture
def coded(tmp_path, limits) -> list[Path]:
    """The catalogue's events in two files, coded."""
    files = []
    for number, part in enumerate(catalogue_events().iter_slices(350)):
        files.append(tmp_path / f"{number}.parquet")
        part.write_parquet(files[-1])
    return code_event_files(files, tmp_path / "coded", limits)


def test_cells_of_several_passes_are_those_of_one(coded, tmp_path, limits, monkeypatch):
    heard = []
    monkeypatch.setattr(cell_files, "MOST_CELLS_A_PART", 90)
    count = write_cells(coded, USER_AUTHOR, NOW_US, tmp_path / "cells", limits, lambda *progress: heard.append(progress))
    parts = [to_cells(part) for part in cell_parts(tmp_path / "cells", USER_AUTHOR)]
    assert len(parts) > 2
    assert heard == [(number + 1, len(parts)) for number in range(len(parts))]
    keys = [set(zip(part["a"].tolist(), part["b"].tolist(), strict=True)) for part in parts]
    assert sum(map(len, keys)) == len(set().union(*keys)), "a key's cells lie in two parts"
    cells = np.concatenate(parts)
    assert len(cells) == count
    assert_same_cells(cells, remembered(catalogue_events(), USER_AUTHOR, NOW_US), NOW_US)


@pytest.mark.parametrize("name", ["user", "topic_hour", "user_product"])
def test_distinct_counts_and_codes_survive_the_passes(name, coded, tmp_path, limits, monkeypatch):
    monkeypatch.setattr(cell_files, "MOST_CELLS_A_PART", 60)
    family = FAMILY_OF[name]
    write_cells(coded, family, NOW_US, tmp_path / "cells", limits)
    cells = np.concatenate([to_cells(part) for part in cell_parts(tmp_path / "cells", family)])
    assert_same_cells(cells, remembered(catalogue_events(), family, NOW_US), NOW_US)


def test_less_memory_means_more_passes(coded, limits):
    with open_engine(limits) as connection:
        events = connection.read_parquet([str(file) for file in coded])
        assert passes_needed(events, USER_AUTHOR, memory_gb=1.0) == 1
        assert passes_needed(events, USER_AUTHOR, memory_gb=1e-5) > passes_needed(events, USER_AUTHOR, memory_gb=1e-4) > 1


def test_a_run_replaces_the_parts_before_it_and_a_failed_one_leaves_them(coded, tmp_path, limits, monkeypatch):
    folder = tmp_path / "cells"
    monkeypatch.setattr(cell_files, "MOST_CELLS_A_PART", 60)
    write_cells(coded, USER_AUTHOR, NOW_US, folder, limits)
    monkeypatch.setattr(cell_files, "MOST_CELLS_A_PART", 10**9)
    count = write_cells(coded, USER_AUTHOR, NOW_US, folder, limits)
    assert [part.num_rows for part in cell_parts(folder, USER_AUTHOR)] == [count]

    def fail(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cells(coded, USER_AUTHOR, NOW_US - 10**9, folder, limits, fail)
    assert [part.num_rows for part in cell_parts(folder, USER_AUTHOR)] == [count]
    write_cells(coded, USER_AUTHOR, NOW_US, folder, limits)
    assert [file.name for file in folder.iterdir()] == ["user_author"]
    assert not list(limits.scratch.iterdir()), "what was spilled is still there"


def test_missing_events_and_missing_cells_say_what_to_do(tmp_path, limits):
    with pytest.raises(CodedEventsMissing, match="code_events"):
        write_cells([], USER_AUTHOR, NOW_US, tmp_path, limits)
    with pytest.raises(FileNotFoundError, match="mixer features backfill user_author"):
        next(cell_parts(tmp_path, USER_AUTHOR))
    with pytest.raises(ValueError, match="0.25 GB"):
        EngineLimits(tmp_path, memory_gb=0.1)


def test_packed_keys_hold_their_cells_in_measure_order(coded, tmp_path, limits):
    write_cells(coded, USER_AUTHOR, NOW_US, tmp_path / "cells", limits)
    cells = to_cells(pa.concat_tables(cell_parts(tmp_path / "cells", USER_AUTHOR)))
    packed = pack_keys(np.random.default_rng(4).permutation(cells))
    table = pl.DataFrame({"a": packed.a, "b": packed.b, "updated_at": packed.updated_at})
    assert table.equals(table.sort("a", "b"))
    unpacked = [np.frombuffer(blob.as_py(), CELL) for blob in packed.packed]
    assert sum(map(len, unpacked)) == len(cells)
    for a, b, newest, mine in zip(packed.a, packed.b, packed.updated_at, unpacked, strict=True):
        of_key = cells[(cells["a"] == a) & (cells["b"] == b)]
        assert mine.tobytes() == of_key[np.argsort(of_key["measure"])].tobytes()
        assert newest == of_key["newest_us"].max()


def test_no_cells_pack_into_no_keys():
    packed = pack_keys(np.zeros(0, CELL))
    assert (len(packed.a), len(packed.packed), len(packed.updated_at)) == (0, 0, 0)
