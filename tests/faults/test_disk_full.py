"""A disk that fills up under what a training writes: the error names the file, nothing half lies there, and it carries on."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.row_shards import open_rows, write_rows
from flows.training.checkpoints import NEWEST, unpacked
from infra.full_disk import DiskFull
from services.ranking.bundle import ModelBundle
from tests.full_disk import Full, Job, file_limit, on_small_disk, why_no_small_disk
from tests.synthetic_rows import synthetic_rows
from tests.toy_training import toy_training
from tests.unit.ranking.test_bundle import small_bundle

NO_SMALL_DISK = why_no_small_disk()
ROOM = "No space left on device; make room on the disk of|File too large; raise the limit on the size of a file"


def refused(file: Path):
    return pytest.raises(DiskFull, match=f"{file} cannot be written: ({ROOM}).* and run it again")


def checkpoints(folder: Path, full: Full) -> None:
    """Full from step 12 on: the checkpoint of step 10 stays, and the next run goes on from it to the very same end."""
    whole = toy_training().train(folder / "whole")
    training, seen = toy_training(), []
    with ExitStack() as until_then:

        def loss(batch):
            seen.append(batch)
            if len(seen) == 12:
                until_then.enter_context(full())
            return training.loss(batch)

        with refused(folder / "full" / "toy" / NEWEST):
            replace(training, loss=loss).train(folder / "full")
    kept = folder / "full" / "toy"
    assert [file.name for file in kept.iterdir()] == [NEWEST]
    assert len(unpacked((kept / NEWEST).read_bytes())["curve"]) == 10
    resumed, again = toy_training(), []
    counted = replace(resumed, loss=lambda batch: again.append(batch) or resumed.loss(batch))
    assert counted.train(folder / "full") == whole
    assert len(again) == len(whole.curve) - 10


def rows_by_column(folder: Path, full: Full) -> None:
    """Full before the second piece: no folder of rows is there, not even a hidden one."""
    rows, place = synthetic_rows(2_000, seed=3), folder / "shards"
    place.mkdir()

    def pieces(until_then: ExitStack):
        yield rows.take(np.arange(1_000))
        until_then.enter_context(full())
        yield rows.take(np.arange(1_000, 2_000))

    with ExitStack() as until_then, refused(place / r"\.rows\..*\.tmp" / r".*\.npy"):
        write_rows(place / "rows", pieces(until_then))
    assert list(place.iterdir()) == []
    write_rows(place / "rows", [rows])
    np.testing.assert_array_equal(open_rows(place / "rows").blocks["user"], rows.blocks["user"])


def rows_of_few_bytes(folder: Path, full: Full) -> None:
    """So few that all wait in buffers until the files are finished."""
    rows, place = synthetic_rows(1_000, seed=3), folder / "shards"
    place.mkdir()
    few = rows.take(np.arange(2))
    with full(), refused(place / r"\.rows\..*\.tmp" / ".*"):
        write_rows(place / "rows", [few])
    assert list(place.iterdir()) == []
    assert write_rows(place / "rows", [few]) == len(open_rows(place / "rows")) == 2


def bundle(folder: Path, full: Full) -> None:
    """What lay there stays a whole bundle, of the version that it was."""
    old, new = small_bundle(1), small_bundle(2)
    old.save(folder / "bundle")
    before = sorted(file.name for file in (folder / "bundle").iterdir())
    with full(), refused(folder / "bundle" / ".*"):
        new.save(folder / "bundle")
    assert sorted(file.name for file in (folder / "bundle").iterdir()) == before
    assert ModelBundle.load(folder / "bundle").version == old.version
    new.save(folder / "bundle")
    assert ModelBundle.load(folder / "bundle").version == new.version != old.version


JOBS = pytest.mark.parametrize("job", (checkpoints, rows_by_column, rows_of_few_bytes, bundle), ids=lambda job: job.__name__)


@JOBS
def test_a_limit_on_files_is_named_and_when_it_is_lifted_the_same_goes_on(job: Job, tmp_path):
    job(tmp_path, file_limit)


@pytest.mark.slow
@pytest.mark.skipif(NO_SMALL_DISK is not None, reason=f"no file system of one's own here: {NO_SMALL_DISK}")
@JOBS
def test_a_disk_that_is_really_full_is_named_and_with_room_the_same_goes_on(job: Job, tmp_path):
    found = on_small_disk(job, tmp_path)
    assert found.returncode == 0, found.stderr
