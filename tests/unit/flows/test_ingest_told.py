"""What ingestion tells a person: the parts with their rows, what was dropped and why, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from feature_repo.datasets.ingest import ingest
from feature_repo.lake import Lake
from flows.ingest import told
from tests.given_dataset import START, GivenDataset, event, spread

DAY = timedelta(days=1)


def lines(tmp_path, rows: list[dict], **options) -> list[str]:
    report = ingest(GivenDataset(rows), Lake(tmp_path / "lake"), Lake(tmp_path / "holdout"), **options)
    return told(report, timedelta(0))


def test_parts_repeats_and_dead_letters_are_told(tmp_path) -> None:
    rows = [*spread(1_000, 10 * DAY), event(3, START), event(2_000, datetime(2106, 1, 1, tzinfo=UTC))]
    parts, repeats, dead = lines(tmp_path, rows)
    assert parts == (
        "splits: learned from up to 2025-03-09, replayed 2025-03-10 to 2025-03-10, for canaries 2025-03-11 to 2025-03-12 "
        "(events: train 700, replay 100, canary 200)"
    )
    assert repeats == "1 events were repeats of an event_id and were dropped"
    assert dead.startswith("1 events are dead letters: occurred_at is after the moment of ingestion")


def test_too_little_for_a_part_is_told_in_a_sentence(tmp_path) -> None:
    found = lines(tmp_path, [event(n, START) for n in range(200)], hold_out=False)
    assert found[0].endswith("; nothing is held out")
    assert found[1] == "the replay part is empty: the events lie in too few minutes to leave one for it"
