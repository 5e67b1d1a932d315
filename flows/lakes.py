"""Opens the lake and the holdout with the time zone that their dataset was ingested with."""

from __future__ import annotations

from datetime import date, timedelta

from feature_repo.lake import Lake
from infra.settings import Settings


class NothingIngested(RuntimeError):
    """A flow needs data, and none was ingested yet."""


def open_lakes(settings: Settings) -> tuple[Lake, Lake]:
    """The lake (days lived through) and the holdout (logged days to come)."""
    marker = Lake(settings.paths.lake).marker("dataset")
    if marker is None:
        raise NothingIngested(f"{settings.paths.lake} holds no dataset; run `mixer run ingest` first")
    offset = timedelta(seconds=marker["day_offset_s"])
    return Lake(settings.paths.lake, offset), Lake(settings.paths.holdout, offset)


def dataset_marker(settings: Settings) -> dict:
    """What ingestion remembered of the dataset: name, label, simulated, day_offset_s, train_end, replay, canary."""
    marker = Lake(settings.paths.lake).marker("dataset")
    if marker is None:
        raise NothingIngested(f"{settings.paths.lake} holds no dataset; run `mixer run ingest` first")
    return marker


def ingest_marker(settings: Settings) -> dict:
    """The report of the finished ingestion; raises NothingIngested where it did not finish."""
    marker = Lake(settings.paths.lake).marker("ingest")
    if marker is None:
        raise NothingIngested(f"{settings.paths.lake} holds no finished ingestion; run `mixer run ingest` first")
    return marker


def split_days(settings: Settings) -> tuple[date, tuple[date, ...], tuple[date, ...]]:
    """(last training day, replayed days, canary days) of the ingested dataset."""
    marker = dataset_marker(settings)
    days = {name: tuple(date.fromisoformat(day) for day in marker[name]) for name in ("replay", "canary")}
    return date.fromisoformat(marker["train_end"]), days["replay"], days["canary"]
