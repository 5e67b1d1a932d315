"""Score a model and its baselines on a file of later exposures, in time order, every row with what was known before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_repo.datasets.exposure_file import read_exposure_file
from feature_repo.event_log import first_topics, read_events, read_table
from feature_repo.feature_rows import FeatureRows
from feature_repo.lake import Lake
from feature_repo.training_rows import PointsInTime
from flows.days import day_start, microseconds
from flows.evaluation.figures import figures
from flows.evaluation.lists import list_figures
from flows.lakes import open_lakes, split_days
from flows.progress import announce
from flows.training import baselines
from flows.training.baselines import Predict
from flows.training.evaluate import user_days
from infra.settings import Settings
from services.ranking.bundle import ModelBundle

STATES = ("live", "frozen")


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
    history grows with the file alone. NDCG@10 is always of rows frozen at the start of the user-day (see README); the other
    figures are of rows in `state`. Intervals resample users `draws` times.

    Keys: exposures, state, rows, users, user_days, first, last, posts_not_in_tables, model, models and differences (see
    `figures`), lists (see `list_figures`), warnings. Raises MalformedFile, BundleError, NothingIngested, and ValueError for a
    model that the registry does not have.
    """
    if state not in STATES:
        raise ValueError(f"state is {state!r}; it is one of {', '.join(STATES)}")
    lakes = list(open_lakes(settings))
    bundle, name = _bundle(settings, model, bundle_folder)
    posts = read_table(lakes, "posts")
    events = read_exposure_file(file, posts)
    announce("point-in-time state")
    known, first_us = _known(settings, lakes, posts, events)
    asked = _asked(known, first_us, lakes[0].day_offset)
    trained_until = _trained_until(settings, bundle, lakes[0])
    warnings = []
    if trained_until >= first_us:
        warnings.append(
            f"the model learned from exposures up to {_moment(trained_until)}, the file begins at {_moment(first_us)}: "
            "it is judged on what it has seen"
        )
    predictors: dict[str, Predict] = {name: bundle.heavy_predict}
    if with_baselines:
        train = known.rows(known.dated(0, min(trained_until, first_us - 1)))
        predictors |= _baselines(settings, train)
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
        "first": _moment(int(rows.occurred_at.min())),
        "last": _moment(int(rows.occurred_at.max())),
        "posts_not_in_tables": len(set(rows.post_id.tolist()) - listed),
        "model": {"name": name, "version": bundle.version, "trained_until": _moment(trained_until)},
        **figures(chosen, frozen, rows, asked.user_day, main=name, draws=draws, seed=settings.seed),
        "lists": list_figures(frozen, rows, asked.user_day, _exposures_before(known, first_us)),
        "warnings": warnings,
    }


def _bundle(settings: Settings, model: str, folder: Path | None) -> tuple[ModelBundle, str]:
    if folder is None:
        from flows.training.registered_versions import bundle_of
        from flows.training.registry import UnknownModel

        try:
            folder, name = bundle_of(settings, model), model
        except UnknownModel as error:
            raise ValueError(f"{error} (`mixer run train`), or give the folder of a bundle with --bundle") from error
    else:
        name = folder.name
    return ModelBundle.load(folder, threads=settings.threads), name


def _known(settings: Settings, lakes: list[Lake], posts: pl.DataFrame, events: pl.DataFrame) -> tuple[PointsInTime, int]:
    """State over what was logged before the file and the file itself, and the microsecond the file begins at."""
    first = events["occurred_at"].min()
    before = read_events(lakes, until=first - timedelta(microseconds=1))
    asked = (
        events.with_columns(at=pl.col("occurred_at").dt.epoch("us"))
        .join(first_topics(posts), on="post_id", how="left", maintain_order="left")
        .with_columns(pl.col("topic").fill_null(-1))
        .select(before.columns)
        .cast(dict(before.schema))
    )
    known = PointsInTime.of(settings, pl.concat([before, asked]), read_table(lakes, "users"), posts)
    return known, microseconds(first)


def _asked(known: PointsInTime, first_us: int, day_offset: timedelta) -> Asked:
    chosen = known.dated(first_us, np.iinfo(np.int64).max)
    live = known.rows(chosen)
    group = user_days(live, day_offset)
    begins = np.full(group.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(begins, group, live.occurred_at)
    announce("state frozen at the start of every user-day")
    return Asked(live, known.rows(chosen, begins[group]), group)


def _trained_until(settings: Settings, bundle: ModelBundle, lake: Lake) -> int:
    """The last microsecond that the model learned from; a bundle that does not say learned from the training days."""
    if "trained_until_us" in bundle.details:
        return int(bundle.details["trained_until_us"])
    train_end, _, _ = split_days(settings)
    return microseconds(day_start(train_end + timedelta(days=1), lake.day_offset)) - 1


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


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds")
