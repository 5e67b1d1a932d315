"""What a replay's judge compares with: rates of the training days, of all users or of some of them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.datasets.ingest import ingest
from feature_repo.lake import Lake
from flows import replay
from flows.lakes import open_lakes, splits_of
from infra.settings import Settings
from tests.given_dataset import GivenDataset, spread


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    settings = Settings(home=tmp_path / "home")
    rows = [{**row, "user_id": n % 3_000, "post_id": n % 6_000} for n, row in enumerate(spread(12_000, timedelta(days=10)))]
    ingest(GivenDataset(rows), Lake(settings.paths.lake), Lake(settings.paths.holdout), hold_out=True)
    monkeypatch.setattr(replay, "get_settings", lambda: settings)
    monkeypatch.setattr(replay, "_deciding_heads", lambda settings: ())
    return settings


def test_the_rates_are_of_the_training_days_alone(settings):
    lake, _ = open_lakes(settings)
    known = lake.events().filter(pl.col("occurred_at") < splits_of(settings).train_end)
    assert replay.training_reference().post_id.tolist() == known["post_id"].unique().sort().to_list()


def test_of_a_long_log_they_are_of_some_users_always_the_same(settings, monkeypatch):
    every = replay.training_reference()
    monkeypatch.setattr(replay, "REFERENCE_EXPOSURES", 100)
    some, again = replay.training_reference(), replay.training_reference()
    assert 0 < len(some.post_id) < len(every.post_id)
    np.testing.assert_array_equal(some.post_id, again.post_id)
    np.testing.assert_array_equal(some.rates, again.rates)
