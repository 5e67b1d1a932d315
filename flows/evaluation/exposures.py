"""Score a model and its baselines on a file of later exposures, in time order, every row with what was known before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_repo.datasets.exposure_file import read_exposure_file
from feature_repo.event_log import first_topics, log_columns, read_events, read_table
from feature_repo.feature_rows import FeatureRows
from feature_repo.lake import Lake
from feature_repo.training_rows import PointsInTime
from flows.evaluation.figures import figures
from flows.evaluation.judged import already_seen, judged_bundle, moment, trained_until
from flows.evaluation.lists import list_figures
from flows.steps.days import microseconds
from flows.steps.lakes import open_lakes
from flows.steps.progress import announce
from flows.training import baselines
from flows.training.baselines import Predict
from flows.training.evaluate import dwell_metrics, user_days
from infra.settings import Settings
from services.ranking.bundle import ModelBundle

STATES = ("live", "frozen")
HEAVY_ALONE = "heavy ranker alone"  # beside a model that stacks others on it


@dataclass(frozen=True)
class Asked:
    """The file's rows: as of each row's own microsecond, and as of its user's first row of the day. The same order in both."""

    live: FeatureRows
    frozen: FeatureRows
    user_day: np.ndarray  # int64 (n,)


def evaluate_exposures(
    settings: Settings,
    file: Path,
    *,
    state: str = "live",
    model: str = "champion",
    bundle_folder: Path | None = None,
    with_baselines: bool = True,
    draws: int = 200,
) -> dict[str, Any]:
    """Figures of the model (registered as `model`, or in `bundle_folder`) and of the baselines on the exposures of `file`.

    Events of the lake and of the held-out days count where they are strictly before the file's first exposure; from there on
    history grows with the file alone. NDCG@10 is always of rows frozen at the start of the user-day (docs/ranking.md); the
    other figures are of rows in `state`. Intervals resample users `draws` times. The baselines read the model's vectors too.

    Keys: exposures, state, rows, users, user_days, first, last, posts_not_in_tables, model, models and differences (see
    `figures`), dwell (see `dwell_metrics`), lists (see `list_figures`), warnings. Raises MalformedFile, BundleError,
    NothingIngested, and ValueError for a model that the registry does not have.
    """
    if state not in STATES:
        raise ValueError(f"state is {state!r}; it is one of {', '.join(STATES)}")
    lakes = list(open_lakes(settings))
    bundle, name = judged_bundle(settings, model, bundle_folder)
    posts = read_table(lakes, "posts")
    events = read_exposure_file(file, posts)
    announce("point-in-time state")
    known, first_us = _known(settings, lakes, posts, events)
    asked = _asked(known, first_us, lakes[0].day_offset)
    learned_until = trained_until(settings, bundle, lakes[0])
    asked = replace(asked, live=bundle.extended(asked.live), frozen=bundle.extended(asked.frozen))
    train = known.rows(known.dated(0, min(learned_until, first_us - 1)))
    predictors = _models(settings, bundle, name, train if with_baselines else None)
    chosen = {name: _predictions(name, predict, asked, state) for name, predict in predictors.items()}
    frozen = {name: _predictions(name, predict, asked, "frozen") for name, predict in predictors.items()}
    rows = asked.frozen if state == "frozen" else asked.live
    listed = set(posts["post_id"].to_list())
    return {
        "exposures": str(file),
        "state": state,
        "rows": len(rows),
        "users": len(np.unique(rows.user_id)),
        "user_days": len(np.unique(asked.user_day)),
        "first": moment(int(rows.occurred_at.min())),
        "last": moment(int(rows.occurred_at.max())),
        "posts_not_in_tables": len(set(rows.post_id.tolist()) - listed),
        "model": {"name": name, "version": bundle.version, "trained_until": moment(learned_until)},
        **figures(chosen, frozen, rows, asked.user_day, main=name, draws=draws, seed=settings.seed),
        "dwell": dwell_metrics(bundle.predicted_dwell_s(rows), rows.dwell_s, train.dwell_s),
        "lists": list_figures(frozen, rows, asked.user_day, _exposures_before(known, first_us)),
        "warnings": already_seen(learned_until, asked.live.occurred_at, "exposures"),
    }


def _known(settings: Settings, lakes: list[Lake], posts: pl.DataFrame, events: pl.DataFrame) -> tuple[PointsInTime, int]:
    """State over what was logged before the file and the file itself, and the microsecond the file begins at."""
    first = events["occurred_at"].min()
    before = read_events(lakes, until=first - timedelta(microseconds=1))
    asked = log_columns(events.lazy(), first_topics(posts)).collect().cast(dict(before.schema))
    known = PointsInTime.of(settings, pl.concat([before, asked]), read_table(lakes, "users"), posts)
    return known, microseconds(first)


def _asked(known: PointsInTime, first_us: int, day_offset: timedelta) -> Asked:
    chosen = known.dated(first_us, np.iinfo(np.int64).max)
    live = known.rows(chosen)
    group = user_days(live, day_offset)
    begins = np.full(group.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(begins, group, live.as_of_us)
    announce("state frozen at the start of every user-day")
    return Asked(live, known.rows(chosen, begins[group]), group)


def _models(settings: Settings, bundle: ModelBundle, name: str, train: FeatureRows | None) -> dict[str, Predict]:
    """What is asked: the model, its heavy ranker where others are stacked on it, and the baselines fitted on `train`."""
    models: dict[str, Predict] = {name: bundle.predict}
    if bundle.ensemble is not None:
        models[HEAVY_ALONE] = bundle.heavy_predict
    return models if train is None else models | _baselines(settings, bundle.extended(train))


def _baselines(settings: Settings, train: FeatureRows) -> dict[str, Predict]:
    announce("fitting LightGBM on the same features")
    boosted = baselines.fit_lightgbm(train, seed=settings.seed, threads=settings.threads)
    announce("fitting logistic regression")
    logistic = baselines.fit_logistic_regression(train)
    return {"LightGBM": boosted, "logistic regression": logistic, "popularity": lambda rows: baselines.popularity(train, rows)}


def _predictions(name: str, predict: Predict, asked: Asked, state: str) -> np.ndarray:
    announce(f"{name}, {state} state")
    return predict(asked.frozen if state == "frozen" else asked.live)


def _exposures_before(known: PointsInTime, first_us: int) -> dict[int, int]:
    """Exposures of every post before the file."""
    posts, counts = np.unique(known.log.post_id[known.log.at_us < first_us], return_counts=True)
    return dict(zip(posts.tolist(), counts.tolist(), strict=True))
