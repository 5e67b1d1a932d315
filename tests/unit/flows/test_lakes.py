"""Flows read how the dataset is split: as ingested where a part is held out, else from the lake as it stands."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.splits import Splits
from feature_repo.lake import Lake
from flows.steps.lakes import NothingIngested, lived_until, open_lakes, split_days, splits_of, within
from infra.settings import Settings
from tests.given_dataset import SCHEMAS, START, GivenDataset, event, spread

DAY = timedelta(days=1)


def home(tmp_path, rows: list[dict], *, hold_out: bool) -> Settings:
    settings = Settings(home=tmp_path / "home")
    ingest(GivenDataset(rows), Lake(settings.paths.lake), Lake(settings.paths.holdout), hold_out=hold_out)
    return settings


def test_a_tours_home_keeps_the_splits_it_was_ingested_with(tmp_path) -> None:
    settings = home(tmp_path, spread(1_000, 10 * DAY), hold_out=True)
    before = splits_of(settings)
    lake, holdout = open_lakes(settings)
    lake.write_events(holdout.events(), "live")
    assert splits_of(settings) == before == Splits.from_json(lake.marker("dataset")["splits"])
    assert lived_until(settings) == before.train_end
    train_end, replay, canary = split_days(settings)
    assert [train_end] == [START.date() + 6 * DAY]
    assert list(replay + canary) == [START.date() + day * DAY for day in (7, 8, 9)]


def test_elsewhere_the_newest_part_of_the_lake_evaluates_and_follows_it(tmp_path) -> None:
    rows = spread(1_000, 10 * DAY)
    settings = home(tmp_path, rows, hold_out=False)
    before = splits_of(settings)
    lake, _ = open_lakes(settings)
    held = lake.events()
    assert within(held, before.replay).height == pytest.approx(150, abs=50)
    assert within(held, before.canary).is_empty()
    assert held["occurred_at"].max() < lived_until(settings) <= before.replay[1]
    later = [event(5_000 + n, START + 10 * DAY + n * DAY / 100) for n in range(1_000)]
    lake.write_events(pl.DataFrame(later, schema=SCHEMAS["events"]), "live")
    assert splits_of(settings).train_end > before.train_end + 5 * DAY


def test_parts_that_meet_within_a_day_share_it(tmp_path) -> None:
    settings = home(tmp_path, spread(2_000, DAY), hold_out=True)
    day = START.date()
    assert split_days(settings) == (day, (day,), (day,))
    _, holdout = open_lakes(settings)
    splits = splits_of(settings)
    replayed, met = (within(holdout.events(), span) for span in (splits.replay, splits.canary))
    assert replayed.height + met.height == holdout.events().height
    assert min(replayed.height, met.height) > 100


def test_an_empty_part_has_no_day(tmp_path) -> None:
    settings = home(tmp_path, [event(n, START) for n in range(50)], hold_out=True)
    assert split_days(settings) == (START.date(), (), ())


def test_a_home_of_an_older_version_is_told_to_ingest_again(tmp_path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(NothingIngested, match="mixer run ingest"):
        splits_of(settings)
    Lake(settings.paths.lake).mark("dataset", {"day_offset_s": 0, "train_end": "2025-03-03"})
    with pytest.raises(NothingIngested, match="older version; run `mixer run ingest` again"):
        splits_of(settings)
