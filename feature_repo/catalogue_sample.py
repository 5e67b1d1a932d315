"""A sample of impressions with every feature of the catalogue at their moment, and what followed: for judging features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import ibis
import numpy as np
import polars as pl

from feature_repo.aggregates.batch_cells import cells_at, to_cells
from feature_repo.aggregates.cell_rows import KeyedCells
from feature_repo.aggregates.families import FAMILIES, Family
from feature_repo.aggregates.features import whole
from feature_repo.aggregates.measures import HOUR_US
from feature_repo.exposures import ExposureLog, exposure_log
from feature_repo.lake import Lake

_EVENT_COLUMNS = ["user_id", "post_id", "author_id", "topic", "action", "value", "product", "at"]


@dataclass(frozen=True)
class SampledImpressions:
    """n impressions, oldest first: those before `window_from` are the reference, the others the window."""

    ids: pl.DataFrame  # families.ID_COLUMNS, int64; topic -1 where the post has none
    at_us: np.ndarray  # int64 (n,)
    labels: np.ndarray  # uint8 (n, len(HEADS))
    window: np.ndarray  # bool (n,)
    reference_days: tuple[date, ...]
    window_days: tuple[date, ...]

    def __len__(self) -> int:
        return len(self.at_us)


@dataclass(frozen=True)
class FamilySample:
    """The features of one family for the sampled impressions. NaN: the impression has no key in the family."""

    family: Family
    vectors: np.ndarray  # float32 (n, len(features_of(family)))
    known: np.ndarray  # bool (n,): something had happened to the key before


def sample_impressions(
    lake: Lake, events: pl.DataFrame, reference: Sequence[date], window: Sequence[date], rows: int, seed: int
) -> SampledImpressions:
    """Up to `rows` dated impressions of each of two runs of local days, drawn from `events` (columns of
    `event_log.read_events`). Raises ValueError where one of them has none."""
    log = exposure_log(events)
    local_day = (log.at_us + round(lake.day_offset.total_seconds() * 1e6)) // (24 * HOUR_US)
    random = np.random.default_rng(seed)
    drawn = []
    for days in (reference, window):
        wanted = np.isin(local_day, [(day - date(1970, 1, 1)).days for day in days]) & log.dated
        places = np.flatnonzero(wanted)
        if len(places) == 0:
            raise ValueError(f"no dated impression on {[str(day) for day in days]}; replay or wait for traffic first")
        drawn.append(random.choice(places, min(rows, len(places)), replace=False))
    chosen = np.concatenate(drawn)
    chosen = chosen[np.argsort(log.at_us[chosen], kind="stable")]
    return SampledImpressions(
        ids=_ids(log, chosen),
        at_us=log.at_us[chosen],
        labels=log.labels(chosen),
        window=np.isin(chosen, drawn[1]),
        reference_days=tuple(reference),
        window_days=tuple(window),
    )


def family_samples(events: pl.DataFrame, asked: SampledImpressions) -> Iterator[FamilySample]:
    """The features of every family, one after the other, strictly before each impression's microsecond."""
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET enable_progress_bar = false")  # Ibis turns it on, and it goes to stdout, where JSON may go
    try:
        past = events.filter(pl.col("at") < int(asked.at_us.max())).select(_EVENT_COLUMNS)
        table = ibis.memtable(past.to_arrow())
        for family in FAMILIES:
            yield _family_sample(connection, table, family, asked)
    finally:
        connection.disconnect()


def _family_sample(connection, table, family: Family, asked: SampledImpressions) -> FamilySample:
    a = asked.ids[family.ids[0]]
    b = asked.ids[family.ids[1]] if len(family.ids) > 1 else pl.Series(np.zeros(len(asked), np.int64))
    questions = pl.DataFrame({"a": a, "b": b, "now_us": asked.at_us}).with_row_index("row")
    has_key = (asked.ids["topic"] >= 0).to_numpy() if "topic" in family.ids else np.ones(len(asked), bool)
    answer = pl.from_arrow(connection.to_pyarrow(cells_at(table, ibis.memtable(questions.drop("row").to_arrow()), family)))
    # A key asked for at two moments has two answers, so cells are found by the number of their question instead of the key.
    distinct = questions.unique(["a", "b", "now_us"], maintain_order=True).with_columns(number=pl.int_range(pl.len()))
    numbered = answer.join(distinct.rename({"now_us": "as_of_us"}), on=["a", "b", "as_of_us"])
    cells = to_cells(numbered.to_arrow())
    cells["a"], cells["b"] = numbered["number"].to_numpy(), 0
    rows = questions.join(distinct.drop("row"), on=["a", "b", "now_us"], maintain_order="left")["number"].to_numpy()
    keyed = KeyedCells(cells)
    found = keyed.find(rows)
    vectors = whole(family).vectors(keyed.rows(found), asked.at_us)
    vectors[~has_key] = np.nan
    return FamilySample(family, vectors, found >= 0)


def _ids(log: ExposureLog, chosen: np.ndarray) -> pl.DataFrame:
    columns = ("user_id", "post_id", "author_id", "topic", "product")
    ids = {name: getattr(log, name)[chosen].astype(np.int64) for name in columns}
    return pl.DataFrame({**ids, "hour": log.at_us[chosen] // HOUR_US % 24})
