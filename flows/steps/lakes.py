"""Opens the lake and the holdout with the time zone that their dataset was ingested with, and says how it is split."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TypeVar

import polars as pl

from feature_repo.datasets.chosen_splits import NoDatedEvents, choose_splits
from feature_repo.datasets.event_counts import EventCounts
from feature_repo.datasets.splits import MICROSECOND, Span, Splits, overlaps
from feature_repo.lake import Lake
from infra.settings import Settings

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

# Where nothing is held out, this share of the lake's events trains and the newest ones evaluate.
LIVED_TRAIN_SHARE = 0.85


class NothingIngested(RuntimeError):
    """A flow needs data, and none was ingested yet."""


def open_lakes(settings: Settings) -> tuple[Lake, Lake]:
    """The lake (days lived through) and the holdout (logged days to come; empty where nothing is held out)."""
    offset = timedelta(seconds=dataset_marker(settings)["day_offset_s"])
    return Lake(settings.paths.lake, offset), Lake(settings.paths.holdout, offset)


def dataset_marker(settings: Settings) -> dict:
    """What ingestion remembered of the dataset: see `feature_repo.datasets.ingest.mark_dataset`."""
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


def splits_of(settings: Settings) -> Splits:
    """The dataset's parts as moments. Where nothing is held out they are chosen from the lake as it stands: the newest events
    evaluate (`replay`), and no part is left for a canary.
    """
    marker = dataset_marker(settings)
    if "splits" not in marker:
        raise NothingIngested(f"{settings.paths.lake} was ingested by an older version; run `mixer run ingest` again")
    if marker["hold_out"]:
        return Splits.from_json(marker["splits"])
    lake, _ = open_lakes(settings)
    share = LIVED_TRAIN_SHARE if settings.split_train_share is None else settings.split_train_share
    try:
        chosen = choose_splits(EventCounts.of(lake.scan_events(), lake.day_offset), share)
    except NoDatedEvents as error:
        raise NothingIngested(f"{settings.paths.lake}: {error}") from error
    end = chosen.canary[1]
    return Splits(chosen.train_end, (chosen.train_end, end), (end, end), chosen.notes)


def split_days(settings: Settings) -> tuple[date, tuple[date, ...], tuple[date, ...]]:
    """(last training day, replayed days, canary days): the local days that hold events of each part.

    Where parts meet within a day, that day stands in both: use `splits_of` to keep their events apart.
    """
    splits = splits_of(settings)
    lakes = open_lakes(settings)
    offset = lakes[0].day_offset
    held = sorted({day for lake in lakes for day in lake.event_days()})
    replay, canary = (tuple(day for day in held if overlaps(day, span, offset)) for span in (splits.replay, splits.canary))
    return splits.last_training_day(offset), replay, canary


def lived_until(settings: Settings) -> datetime:
    """The first moment that features do not count: the end of training where later events are held out, else of the lake."""
    splits = splits_of(settings)
    if dataset_marker(settings)["hold_out"]:
        return splits.train_end
    lake, _ = open_lakes(settings)
    newest = lake.scan_events().select(pl.col("occurred_at").max()).collect().item()
    return min(splits.replay[1], newest + MICROSECOND)


def within(events: Frame, span: Span) -> Frame:
    """The `events` from the first moment of `span` up to its end."""
    return events.filter((pl.col("occurred_at") >= span[0]) & (pl.col("occurred_at") < span[1]))
