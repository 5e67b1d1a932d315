"""Ingestion puts each day where it belongs, once, however often and however rudely it is run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.datasets.derived_edges import derive_follow_edges
from feature_repo.datasets.ingest import IngestError, ingest
from feature_repo.datasets.kuairand.adapter import KuaiRand
from feature_repo.datasets.world import WorldConfig
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.lake import Lake
from tests.unit.datasets.kuairand_folder import exposure, history, write_slice

pytestmark = pytest.mark.slow  # each test ingests a world

DAY_MS = 86_400_000
LAST_TRAINING_MOMENT_MS = 1_651_420_799_999  # 1 May 2022 23:59:59.999 in Beijing

ROWS = [
    exposure(1, 10, is_like=1, time_ms=LAST_TRAINING_MOMENT_MS - DAY_MS),
    exposure(1, 11, time_ms=LAST_TRAINING_MOMENT_MS, is_click=1),
    exposure(2, 11, time_ms=LAST_TRAINING_MOMENT_MS + 1, is_follow=1),
    exposure(2, 77, time_ms=LAST_TRAINING_MOMENT_MS + 2),  # a video that is not listed
    exposure(2, 10, time_ms=LAST_TRAINING_MOMENT_MS + 3 * DAY_MS),
]


def lakes(root: Path, offset: timedelta = KuaiRand.day_offset) -> tuple[Lake, Lake]:
    return Lake(root / "lake", offset), Lake(root / "holdout", offset)


@pytest.fixture
def adapter(tmp_path: Path) -> KuaiRand:
    return KuaiRand(write_slice(tmp_path / "kuairand", ROWS, histories=[history()]))


def files_under(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_days_up_to_the_split_go_to_the_lake_and_later_days_to_the_holdout(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    report = ingest(adapter, lake, holdout)
    assert set(lake.events()["request_id"].drop_nulls()) == {"kr-0", "kr-1"}
    assert set(holdout.events()["request_id"]) == {"kr-2", "kr-4"}
    assert [day.isoformat() for day in holdout.event_days()] == ["2022-05-02", "2022-05-04"]
    assert lake.events().filter(pl.col("product") == HISTORY_BEFORE).height == report.history_events == 4
    assert report.lake_events + report.holdout_events == sum(report.rows_per_day.values()) == 11


def test_what_is_malformed_is_kept_with_its_reason(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    assert ingest(adapter, lake, holdout).malformed == 1
    dead = pl.read_parquet(lake.root / "dead_letters" / "kuairand.parquet")
    assert dead.select("event_id", "reason").rows() == [("kr-3-impression", "post_id is not listed in videos.parquet")]


def test_edges_are_derived_from_the_lived_through_days_only(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    report = ingest(adapter, lake, holdout)
    assert report.edges_derived
    # User 2's follow lies in the holdout; user 1 liked both authors before.
    assert set(lake.read("edges")["user_id"]) == {1}
    assert lake.read("edges").equals(derive_follow_edges(lake.events()))


def test_a_second_run_is_skipped_and_says_what_the_first_one_did(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    first = ingest(adapter, lake, holdout)
    content = files_under(tmp_path)
    second = ingest(adapter, lake, holdout)
    assert (first.skipped, second.skipped) == (False, True)
    assert second.rows_per_day == first.rows_per_day
    assert files_under(tmp_path) == content


def test_a_run_killed_before_its_end_is_repeated_to_the_same_bytes(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    ingest(adapter, lake, holdout)
    whole = files_under(tmp_path)
    # The state that a kill after the first days leaves: some parts missing, and no marker.
    (lake.root / "markers" / "ingest.json").unlink()
    for folder in sorted((lake.root / "events").iterdir())[1:]:
        (folder / "kuairand.parquet").unlink()
    (lake.root / "posts" / "kuairand.parquet").unlink()
    assert not ingest(adapter, lake, holdout).skipped
    assert files_under(tmp_path) == whole


def test_changed_files_are_ingested_anew_and_replace_the_old_rows(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    ingest(adapter, lake, holdout)
    shorter = KuaiRand(write_slice(adapter.folder, ROWS[:1]))
    report = ingest(shorter, lake, holdout, may_drop=True)
    assert not report.skipped
    assert set(lake.events()["request_id"].drop_nulls()) == {"kr-0"}
    assert holdout.events().is_empty()


def test_a_lake_of_another_dataset_is_refused(tmp_path: Path, adapter: KuaiRand) -> None:
    ingest(adapter, *lakes(tmp_path))
    world = WorldAdapter(config=WorldConfig(users=20, posts=20, days=5))
    lake, holdout = lakes(tmp_path, world.day_offset)
    with pytest.raises(IngestError, match="holds dataset 'kuairand'.*MIXER_HOME"):
        ingest(world, lake, holdout)


def test_a_lake_opened_with_another_midnight_is_refused(tmp_path: Path, adapter: KuaiRand) -> None:
    with pytest.raises(IngestError, match="day offset"):
        ingest(adapter, *lakes(tmp_path, timedelta(0)))


def test_the_dataset_marker_tells_other_processes_how_to_open_the_lake(tmp_path: Path, adapter: KuaiRand) -> None:
    lake, holdout = lakes(tmp_path)
    ingest(adapter, lake, holdout)
    for place in (lake, holdout):
        marker = place.marker("dataset")
        assert marker["name"] == "kuairand"
        assert marker["day_offset_s"] == 8 * 3_600
        assert marker["simulated"] is False


def test_a_declared_graph_is_taken_as_it_is(tmp_path: Path) -> None:
    world = WorldAdapter(config=WorldConfig(users=60, posts=80, days=5))
    lake, holdout = lakes(tmp_path, world.day_offset)
    report = ingest(world, lake, holdout)
    assert report.simulated and not report.edges_derived
    assert not lake.read("edges")["derived"].any()
    assert lake.event_days()[-1] == world.splits.last_training_day(world.day_offset)
    assert len(holdout.event_days()) == 4
    assert report.rows_per_split["none"] == 0
