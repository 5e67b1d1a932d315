"""The decisions of a log whose logger said with what probability it made each, beside all that was known at their moments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.contracts import Action
from feature_repo.datasets.exposure_file import read_exposure_file
from feature_repo.event_log import first_topics, log_columns, read_events, read_table
from feature_repo.exposures import exposure_frame
from feature_repo.lake import Lake
from feature_repo.surfaces import surface_code
from feature_repo.training_rows import LABEL_GRACE, PointsInTime
from flows.evaluation.off_policy import UnknownPropensity
from infra.settings import Settings


@dataclass(frozen=True)
class Decisions:
    """n logged decisions in order of time. `exposure`: their rows in `known.log`, int64 (n,); `propensity`: float64 (n,)."""

    known: PointsInTime
    exposure: np.ndarray
    propensity: np.ndarray
    products: dict[int, str]  # product bucket -> a name of it
    impressions: int  # in the file
    unknown: int  # of them without a propensity; they are no decisions

    def __len__(self) -> int:
        return len(self.exposure)

    @property
    def at_us(self) -> np.ndarray:
        return self.known.log.at_us[self.exposure]

    def sampled(self, count: int, seed: int) -> Decisions:
        """`count` of them, drawn without replacement, still in order of time; all where there are not so many."""
        if count >= len(self):
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        return replace(self, exposure=self.exposure[kept], propensity=self.propensity[kept])


def read_decisions(settings: Settings, lakes: list[Lake], file: Path, posts: pl.DataFrame) -> Decisions:
    """The dated impressions of `file` that carry a propensity, each event_id once.

    What was known is everything in the lakes and in the file; events that stand in both count once. Unlike for
    `evaluate_exposures`, history does not stop growing from the lakes where the file begins: randomised slots lie between
    ordinary ones, and features as of each moment see nothing later. Raises MalformedFile, and UnknownPropensity where the
    file has no impression with a propensity.
    """
    events = read_exposure_file(file, posts).unique("event_id", keep="first", maintain_order=True)
    shown = events.filter(pl.col("action") == Action.IMPRESSION.value)
    chosen = shown.filter(pl.col("propensity").is_not_null())
    if chosen.is_empty():
        raise UnknownPropensity(_nothing_known(file, shown))
    every = _all_events(lakes, events, posts)
    known = PointsInTime.of(settings, every, read_table(lakes, "users"), posts)
    propensity = _propensities(every, chosen)
    exposure = np.flatnonzero(~np.isnan(propensity) & known.log.dated)
    if len(exposure) == 0:
        raise UnknownPropensity(f"{file}: only undated impressions carry a propensity; nothing is known as of them")
    exposure = exposure[np.argsort(known.log.at_us[exposure], kind="stable")]
    return Decisions(
        known=known,
        exposure=exposure,
        propensity=propensity[exposure],
        products={surface_code(name): name for name in chosen["product"].unique()},
        impressions=shown.height,
        unknown=shown.height - chosen.height,
    )


def _nothing_known(file: Path, shown: pl.DataFrame) -> str:
    return (
        f"{file}: none of its {shown.height:,} impressions carries a propensity, so it says nothing about another policy. "
        "Needed are contract events with `propensity` filled in, or KuaiRand's log of random exposures (is_rand = 1: "
        "log_random_4_22_to_5_08_pure of the official archive; the slice holds recommender-chosen exposures alone)"
    )


def _all_events(lakes: list[Lake], events: pl.DataFrame, posts: pl.DataFrame) -> pl.DataFrame:
    """Events of the lakes and of the file as `read_events` gives them, those of the file once."""
    until = events["occurred_at"].max() + LABEL_GRACE + timedelta(microseconds=1)
    logged = read_events(lakes, until=until)
    asked = log_columns(events.lazy(), first_topics(posts)).collect().cast(dict(logged.schema))
    # The file may be a part of the lake, with the same event_ids or, where its columns have none, with other ones.
    for same in (["event_id"], ["user_id", "post_id", "action", "at"]):
        logged = logged.join(asked, on=same, how="anti")
    return pl.concat([logged, asked])


def _propensities(every: pl.DataFrame, chosen: pl.DataFrame) -> np.ndarray:
    """Propensity of each exposure in the order of `exposure_log(every)`, float64; NaN where it is none of `chosen`."""
    placed = exposure_frame(every.filter(pl.col("action") == Action.IMPRESSION.value)).select("event_id")
    found = placed.join(chosen.select("event_id", "propensity"), on="event_id", how="left", maintain_order="left")
    return found["propensity"].fill_null(np.nan).to_numpy()
