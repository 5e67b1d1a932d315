"""A log whose files were replaced is not taken for the same log grown: what would vanish is named, and nothing is dropped."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from feature_repo.datasets.ingest import IngestError, ingest
from feature_repo.lake import Lake
from tests.given_dataset import START, GivenDataset, event, spread

DAY = timedelta(days=1)
LOGGED = spread(300, 3 * DAY)


@pytest.fixture
def lakes(tmp_path: Path) -> tuple[Lake, Lake]:
    """A lake and a holdout with LOGGED ingested."""
    lakes = Lake(tmp_path / "lake"), Lake(tmp_path / "holdout")
    ingest(GivenDataset(LOGGED), *lakes)
    return lakes


def ids_of(lakes: tuple[Lake, Lake]) -> set[str]:
    return {event_id for lake in lakes for event_id in lake.events()["event_id"]}


def test_other_users_on_the_same_days_are_refused_and_the_lake_stays(lakes):
    others = [{**row, "user_id": row["user_id"] + 1_000} for row in LOGGED]
    said = (
        r"own events \(test\): 300 events that were ingested are no longer in the files "
        r"\(100 of 2025-03-03, 100 of 2025-03-04, 100 of 2025-03-05\): put the files back, set MIXER_HOME .* "
        r"`mixer run ingest --may-drop` \(MIXER_INGEST_MAY_DROP=true\)"
    )
    with pytest.raises(IngestError, match=said):
        ingest(GivenDataset(others), *lakes)
    assert ids_of(lakes) == {row["event_id"] for row in LOGGED}
    assert set(lakes[0].events()["user_id"]) <= set(range(7))
    assert ingest(GivenDataset(others), *lakes, may_drop=True).lake_events > 0
    assert min(lakes[0].events()["user_id"]) >= 1_000


def test_a_daily_file_that_rotates_is_refused_with_the_days_that_it_would_take_along(lakes):
    fifth = spread(100, DAY, START + 4 * DAY)
    with pytest.raises(IngestError, match="200 events .* \\(100 of 2025-03-03, 100 of 2025-03-04\\): put"):
        ingest(GivenDataset([*LOGGED[200:], *fifth]), *lakes)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_log_that_grew_by_days_and_rows_is_taken_whatever_its_rows_are_called_now(lakes, renamed):
    more = [event(n, START + n * DAY / 200, user_id=50) for n in range(1_000, 1_300)]
    rows = [{**row, "event_id": f"new-{n}"} if renamed else row for n, row in enumerate([*LOGGED, *more])]
    report = ingest(GivenDataset(rows), *lakes)
    assert report.lake_events + report.holdout_events == 600


def test_a_few_rows_that_were_erased_are_no_other_log(lakes):
    kept = [row for place, row in enumerate(LOGGED) if place % 20]
    report = ingest(GivenDataset(kept), *lakes)
    assert report.lake_events + report.holdout_events == 285


def test_impressions_that_are_derived_may_change_with_the_log(tmp_path):
    lakes = Lake(tmp_path / "lake"), Lake(tmp_path / "holdout")
    plays = [event(n, START + n * DAY / 100, action="click") for n in range(300)]
    for sampled in (0, 1_000):
        drawn = [event(500 + n, START + n * DAY / 100, post_id=sampled + n % 5) for n in range(300)]
        dataset = GivenDataset([*plays, *drawn])
        dataset.sampled_negatives = 1
        report = ingest(dataset, *lakes)
    assert report.lake_events + report.holdout_events == 600
