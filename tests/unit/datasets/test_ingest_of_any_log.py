"""Ingestion takes anyone's log: in a stream, each event once, with splits that fit, or refuses it in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.datasets.incoming_events import IncomingEvents
from feature_repo.datasets.ingest import IngestError, IngestReport, ingest
from feature_repo.datasets.splits import Splits
from feature_repo.lake import Lake
from tests.given_dataset import START, GivenDataset, event, spread

pytestmark = pytest.mark.slow  # each test ingests a log

DAY = timedelta(days=1)


def ingested(root: Path, rows: list[dict], **options: object) -> tuple[IngestReport, Lake, Lake]:
    lake, holdout = Lake(root / "lake"), Lake(root / "holdout")
    return ingest(GivenDataset(rows), lake, holdout, **options), lake, holdout


def ids_of(*lakes: Lake) -> list[str]:
    return sorted(event_id for lake in lakes for event_id in lake.events()["event_id"])


def files_under(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_an_event_on_two_days_is_kept_once_in_the_whole_lake(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    report, lake, holdout = ingested(tmp_path, [*rows, {**rows[0], "occurred_at": rows[0]["occurred_at"] + DAY}])
    assert ids_of(lake, holdout) == sorted(row["event_id"] for row in rows)
    assert (report.repeats, report.lake_events + report.holdout_events) == (1, 600)
    assert sum(report.rows_per_day.values()) == sum(report.rows_per_action.values()) == 600


def test_an_event_of_the_lake_is_not_kept_in_the_holdout_again(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    again = {**rows[5], "occurred_at": rows[-1]["occurred_at"]}
    report, lake, holdout = ingested(tmp_path, [again, *rows])
    assert rows[5]["event_id"] in ids_of(lake)
    assert rows[5]["event_id"] not in ids_of(holdout)
    assert report.repeats == 1


def test_a_row_of_2106_is_a_dead_letter_and_moves_no_split(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    late = event(900, datetime(2106, 2, 7, tzinfo=UTC))
    with_it, lake, holdout = ingested(tmp_path / "a", [*rows, late])
    without, *_ = ingested(tmp_path / "b", rows)
    assert with_it.splits == without.splits
    assert max(lake.event_days() + holdout.event_days()).year == 2025
    dead = pl.read_parquet(lake.root / "dead_letters" / "own.parquet")
    assert dead["event_id"].to_list() == ["e900"]
    assert "after the moment of ingestion" in dead["reason"][0]
    assert with_it.malformed_by_reason == {dead["reason"][0]: 1}


def test_ratings_of_1997_are_taken_and_an_epoch_of_zero_is_not(tmp_path: Path) -> None:
    rows = [*spread(300, 90 * DAY, datetime(1997, 1, 1, tzinfo=UTC)), event(999, datetime(1970, 1, 1, tzinfo=UTC))]
    report, *_ = ingested(tmp_path, rows)
    assert (report.lake_events + report.holdout_events, report.malformed) == (300, 1)
    assert "before 1990-01-01" in next(iter(report.malformed_by_reason))


def test_the_owner_sets_the_earliest_time(tmp_path: Path) -> None:
    dataset = GivenDataset(spread(300, 90 * DAY, datetime(1975, 1, 1, tzinfo=UTC)))
    dataset.earliest = datetime(1970, 1, 1, tzinfo=UTC)
    lake = Lake(tmp_path / "lake")
    assert ingest(dataset, lake, Lake(tmp_path / "holdout")).malformed == 0
    assert lake.marker("dataset")["earliest"] == "1970-01-01T00:00:00+00:00"


def test_parts_within_a_day_are_parted_by_their_moment(tmp_path: Path) -> None:
    report, lake, holdout = ingested(tmp_path, spread(2_000, DAY))
    splits = Splits.from_json(report.splits)
    assert lake.event_days() == holdout.event_days() == [START.date()]
    assert lake.events()["occurred_at"].max() < splits.train_end <= holdout.events()["occurred_at"].min()
    assert report.rows_per_split["train"] == report.lake_events
    assert report.rows_per_split["replay"] + report.rows_per_split["canary"] == report.holdout_events


def test_without_a_tour_everything_is_lived_through(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    report, lake, holdout = ingested(tmp_path, rows, hold_out=False)
    assert ids_of(lake) == sorted(row["event_id"] for row in rows)
    assert holdout.events().is_empty()
    assert not report.hold_out and not lake.marker("dataset")["hold_out"]


def test_a_home_can_be_ingested_with_and_without_holding_out(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    ingested(tmp_path, rows)
    report, lake, holdout = ingested(tmp_path, rows, hold_out=False)
    assert not report.skipped
    assert (len(ids_of(lake)), holdout.events().height) == (600, 0)
    back, lake, holdout = ingested(tmp_path, rows)
    assert (lake.events().height, holdout.events().height) == (back.lake_events, back.holdout_events)
    assert back.holdout_events > 0


def test_the_training_share_can_be_set(tmp_path: Path) -> None:
    rows = spread(1_000, 10 * DAY)
    report, *_ = ingested(tmp_path, rows, train_share=0.5)
    assert report.rows_per_split["train"] == 500
    assert not ingested(tmp_path, rows)[0].skipped


def test_what_is_written_does_not_depend_on_what_went_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [event(n, START + timedelta(hours=(n * 37) % 300)) for n in range(900)]
    rows += [rows[4], {**rows[7], "occurred_at": START + 9 * DAY}]
    ingested(tmp_path / "memory", rows)
    monkeypatch.setattr(IncomingEvents.__init__, "__defaults__", (0,))
    ingested(tmp_path / "disk", rows)
    assert files_under(tmp_path / "disk") == files_under(tmp_path / "memory")


def test_progress_is_told_in_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_repo.datasets.ingest.PROGRESS_ROWS", 250)
    told: list[str] = []
    ingested(tmp_path, spread(600, 6 * DAY), on_progress=told.append)
    assert [line for line in told if line.startswith("read ")] == ["read 300 events", "read 500 events"]


@pytest.mark.parametrize(("label", "place"), [("own events (shop)", "/logs"), ("own events (test)", "/elsewhere")])
def test_a_second_own_dataset_in_one_home_is_refused_with_what_the_home_holds(tmp_path: Path, label: str, place: str) -> None:
    ingested(tmp_path, spread(600, 6 * DAY))
    other = GivenDataset(spread(50, 6 * DAY))
    other.label, other.place = label, place
    held = r"holds dataset 'own' \(own events \(test\) from /logs\), ingested 20\d\d-.* MIXER_HOME"
    with pytest.raises(IngestError, match=held):
        ingest(other, Lake(tmp_path / "lake"), Lake(tmp_path / "holdout"))


def test_the_same_files_under_another_name_are_the_same_dataset(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    ingested(tmp_path, rows)
    moved = GivenDataset(rows, label="own events (moved)")
    assert ingest(moved, Lake(tmp_path / "lake"), Lake(tmp_path / "holdout")).skipped


def test_more_rows_and_fewer_days_replace_what_was_there(tmp_path: Path) -> None:
    rows = spread(600, 6 * DAY)
    ingested(tmp_path, rows)
    grown = [row for row in rows if row["occurred_at"] >= START + DAY] + spread(200, 2 * DAY, START + 6 * DAY)
    grown = [{**row, "event_id": f"g{n}"} for n, row in enumerate(grown)]
    report, lake, holdout = ingested(tmp_path, grown, may_drop=True)
    assert ids_of(lake, holdout) == sorted(row["event_id"] for row in grown)
    assert min(lake.event_days()) == (START + DAY).date()
    assert sorted(report.rows_per_day) == [str(day) for day in sorted({*lake.event_days(), *holdout.event_days()})]


def test_a_run_that_fails_half_way_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    first, second = GivenDataset(spread(600, 6 * DAY)), GivenDataset(spread(700, 7 * DAY))
    lake, holdout = Lake(tmp_path / "lake"), Lake(tmp_path / "holdout")
    ingest(first, lake, holdout)

    def fail() -> pl.DataFrame:
        raise OSError("the disk went away")

    second.posts = fail
    with pytest.raises(OSError, match="the disk went away"):
        ingest(second, lake, holdout)
    assert not (lake.root / ".incoming").exists()
    report = ingest(first, lake, holdout, may_drop=True)
    assert not report.skipped
    assert len(ids_of(lake, holdout)) == 600


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], r"own events \(test\): there is no event in it; nothing was ingested"),
        (
            [event(0, START, action="superlike")],
            r"not one of 1 events can be used, most often because action is not in the closed",
        ),
        ([event(0, datetime(2107, 1, 1, tzinfo=UTC))], r"not one of 1 events .* after the moment of ingestion"),
        (
            [event(0, START, product="history_before", position=0)],
            "no event has a time of its own, so there is nothing to train on",
        ),
    ],
)
def test_a_log_without_a_usable_event_is_refused_in_one_sentence(tmp_path: Path, rows: list[dict], sentence: str) -> None:
    with pytest.raises(IngestError, match=sentence):
        ingested(tmp_path, rows)
    assert Lake(tmp_path / "lake").marker("dataset") is None


@pytest.mark.parametrize(
    ("rows", "empty_parts"),
    [
        ([event(0, START)], 2),
        ([event(n, START) for n in range(300)], 2),
        ([event(n, START + n * DAY / 100, user_id=1) for n in range(600)], 0),
        ([event(n, START + n * DAY / 100, post_id=1) for n in range(600)], 0),
        ([*spread(600, 6 * DAY), event(700, START, value=float("nan")), event(701, START, propensity=float("nan"))], 0),
    ],
    ids=["one event", "one instant", "one user", "one post", "nan"],
)
def test_small_and_odd_logs_are_taken(tmp_path: Path, rows: list[dict], empty_parts: int) -> None:
    report, lake, holdout = ingested(tmp_path, rows)
    assert lake.events().height == report.lake_events > 0
    assert report.lake_events + report.holdout_events + report.malformed == len(rows)
    assert sum("part is empty" in note for note in report.split_notes) == empty_parts
