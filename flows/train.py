"""Flow `train`: the rankers on the training days, beside popularity and LightGBM on the same features; sets `champion`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from feature_repo.chosen_heads import HeadError
from feature_repo.feature_rows import FeatureRows
from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name, with_own_names
from feature_repo.row_draw import RowDraw
from flows.steps.days import microseconds
from flows.steps.drawn_rows import DRAW_SEED, draw_of, exposed_users, share_for
from flows.steps.lakes import dataset_marker, open_lakes, split_days, splits_of
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE, PURE_STEP
from flows.training.bundle_folder import bundle_folder
from flows.training.limits import TrainingLimits
from infra.settings import get_settings

PROBE_FROM = 2_000  # of the newest exposures, which a probe of the speed learns from


def rows_of(days: list[date], draw: RowDraw | None = None) -> FeatureRows:
    """Point-in-time rows of local `days`, oldest first, mapped from disk: only what is taken of them is in memory.

    With a `draw` only the rows that it keeps.
    """
    from feature_repo.stored_rows import stored_rows

    announce(f"point-in-time rows of {len(days)} days")
    return stored_rows(get_settings(), list(open_lakes(get_settings())), days, draw)


@task(name="training rows", **FLAKY_EDGE)
def read_rows(days: list[date], draw: RowDraw | None = None) -> FeatureRows:
    return rows_of(days, draw)


def _tell_fit(model: str, share: float, loss: float) -> None:
    announce(f"fitting {model}: {share:.0%}, loss {loss:.4f}")


@task(name="fit", **PURE_STEP)
def fit(train: FeatureRows, folder: Path, limits: TrainingLimits | None = None) -> Any:
    """The bundle, in `folder`, where a killed fit finds its checkpoints again. What it took is remembered."""
    from flows.training.chosen_options import training_options
    from flows.training.training_speed import keep_speed

    settings = get_settings()
    options = training_options(settings, limits)
    try:
        report = _fitted(train, folder, options)
    except HeadError as error:
        own_actions = slots_by_name(IdTable(settings.platform_database_url))
        raise HeadError(with_own_names(str(error), own_actions)) from error
    keep_speed(settings.paths.home, options, len(train), sum(report.seconds.values()))
    return report


def _fitted(train: FeatureRows, folder: Path, options: dict[str, Any]) -> Any:
    settings = get_settings()
    if settings.train_processes > 1:
        from flows.training.distributed import train_in_processes

        processes = settings.train_processes
        return train_in_processes(settings, train, folder, processes=processes, options=options, on_progress=_tell_fit)
    from flows.training.fit import train_bundle

    return train_bundle(train, None, folder, **options, on_progress=_tell_fit)


@contextmanager
def learned_rows(
    rows: FeatureRows, index: np.ndarray, limits: TrainingLimits | None, of: int | None = None
) -> Iterator[tuple[FeatureRows, Any]]:
    """Of `rows` at `index` (int64 (n,)) those that there is the time to learn from, and which sample of the users they are.

    `of`: exposures there are, where `rows` are only those of a larger draw (`row_share`). Without a limit, or with time for all
    of them, it is all of them; the sample is a UserSample. Says beforehand how long it will take.
    """
    from feature_repo.stored_rows import selected_rows
    from flows.training.chosen_options import training_options
    from flows.training.sampled_users import sampled_users
    from flows.training.training_speed import known_speed, probed_speed

    settings = get_settings()
    options = training_options(settings, limits)
    users = rows.user_id[index]
    speed = known_speed(settings.paths.home, options) or probed_speed(rows.take(index[-PROBE_FROM:]), options)
    unlimited = limits is None or limits.seconds is None
    wanted = len(index) if unlimited else max(int(limits.seconds * speed.rows_per_s), limits.least_rows)
    sample = sampled_users(users, wanted, settings.seed + DRAW_SEED, of)
    announce(f"learning from {sample.words()}; about {minutes(speed.seconds(len(sample.index)))}, by {speed.source}")
    chosen = index[sample.index]
    if len(chosen) == len(rows):
        yield rows, sample
        return
    with selected_rows(settings.paths.training_rows, rows, chosen) as learned:
        yield learned, sample


def row_share(days: list[date], limits: TrainingLimits | None) -> tuple[float, int | None]:
    """The share of the users whose rows of `days` are built at all, and how many exposures all users have on them.

    More rows than the fastest machine learns from in the time there is would be built for nothing; 1 and None without a limit.
    """
    from flows.training.chosen_options import training_options
    from flows.training.training_speed import FASTEST_ROWS_PER_S, known_speed

    if limits is None or limits.seconds is None:
        return 1.0, None
    settings = get_settings()
    users = exposed_users(open_lakes(settings)[:1], days)
    speed = known_speed(settings.paths.home, training_options(settings, limits))
    most = limits.seconds * (FASTEST_ROWS_PER_S if speed is None else speed.rows_per_s)
    return share_for(users, max(int(most), limits.least_rows, limits.judged_rows or 0), settings.seed), len(users)


def minutes(seconds: float) -> str:
    """A duration as a person says it."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


@task(name="evaluate beside baselines", **PURE_STEP)
def measure(bundle_folder: str, train: FeatureRows, test: FeatureRows, limits: TrainingLimits | None = None) -> dict[str, Any]:
    """`flows.training.measured.measured` on the test rows, or on those of a sample of users where `limits` have a bound."""
    from feature_repo.chosen_heads import deciding_heads
    from flows.training.measured import measured
    from flows.training.sampled_users import sampled_users

    settings = get_settings()
    lake, _ = open_lakes(settings)
    limits = limits or TrainingLimits()
    if limits.judged_rows is not None:
        test = test.take(sampled_users(test.user_id, limits.judged_rows, settings.seed + DRAW_SEED).index)
    found = measured(
        bundle_folder,
        train,
        test,
        seed=settings.seed,
        threads=settings.threads,
        day_offset=lake.day_offset,
        baselines=limits.baselines,
        requests=limits.slates,
        deciding=deciding_heads(settings),
        tell=announce,
    )
    for sentence in found["not_measured"]:
        announce(sentence)
    return found


@task(name="register", **FLAKY_EDGE)
def register(report: Any, measured: dict[str, Any], days: list[date], alias: str, tags: dict[str, str]) -> str:
    """Runs, metrics, bundle and data fingerprint into MLflow; `alias` moves to the new version, which is returned."""
    from flows.training import registry

    settings = get_settings()
    lake, _ = open_lakes(settings)
    announce(f"registering as {alias}")
    tables = {**measured["metrics"], **beyond_heads(measured)}
    version = registry.log_training(settings, report, tables, lake.fingerprint(days), tags).version
    registry.set_alias(settings, alias, version)
    return version


def beyond_heads(measured: dict[str, Any]) -> dict[str, Any]:
    """What was measured on "any engagement" instead of by head, in the registry's shape: model -> head -> metric."""
    tables = {}
    if "light_ranker_auc" in measured:
        tables["light ranker"] = {"engagement": {"auc": measured["light_ranker_auc"], **_survivors(measured)}}
    if "retrieval" in measured:
        tables["two-tower"] = {"engagement": measured["retrieval"]["two_tower"]}
        tables["most popular"] = {"engagement": measured["retrieval"]["popularity"]}
    if "index_recall" in measured:
        found = measured["index_recall"]
        kept = {name: value for name, value in found.items() if name.startswith(("recall", "speed"))}
        tables["approximate index"] = {"engagement": kept}
    if measured.get("dwell"):
        tables["dwell head"] = {"dwell": measured["dwell"]}
    return tables


def _survivors(measured: dict[str, Any]) -> dict[str, float]:
    kept = measured["light_survival"]["survivors"]["light ranker"]
    return {f"survivors_at_{cut}": share for cut, share in kept.items()}


@flow(name="train")
def train_flow(limits: TrainingLimits | None = None) -> dict[str, Any]:
    """Train on the dataset's training days, evaluate on its replay days, register the champion.

    limits: what it may cost where somebody waits for it; none by default.
    """
    from feature_repo.chosen_heads import deciding_heads
    from flows.training.headline import headline
    from flows.training.report import keep_report

    settings = get_settings()
    deciding, own_actions = deciding_heads(settings), slots_by_name(IdTable(settings.platform_database_url))
    train_end, test_days, _ = split_days(settings)
    splits = splits_of(settings)
    lake, _ = open_lakes(settings)
    days = [day for day in lake.event_days() if day <= train_end]
    share, exposures = row_share(days, limits)
    rows = read_rows(sorted({*days, *test_days}), draw_of(share, settings.seed))
    train, later = split_at(rows, microseconds(splits.train_end))
    test, _ = split_at(later, microseconds(splits.replay[1]))
    tags = {"reason": "first training", "days": f"{days[0]}..{days[-1]}"}
    with (
        bundle_folder(settings.paths.bundles, f"champion-{lake.fingerprint(days)}", announce) as folder,
        learned_rows(train, np.arange(len(train)), limits, exposures) as (learned, sample),
    ):
        report = fit(learned, folder, limits)
        measured = measure(str(report.folder), learned, test, limits)
        version = register(report, measured, days, "champion", {**tags, "learned_from": sample.words()})
    result = {
        "model_version": version,
        "headline": headline(measured["metrics"], deciding, own_actions),
        "dataset": dataset_marker(settings)["label"],
        "train_rows": len(sample.index),
        "learned_from": sample.words(),
        "sampled": not sample.whole,
        "train_days": [str(day) for day in dated_days(train, lake.day_offset)],
        "test_days": [str(day) for day in test_days],
        "seconds": report.seconds,
        **measured,
    }
    keep_report(settings, version, result, champion=True)
    if measured["markdown"]:
        described = f"Test days {test_days[0]}..{test_days[-1]}"
        create_markdown_artifact(
            key="offline-metrics", markdown=with_own_names(measured["markdown"], own_actions), description=described
        )
    return result


def dated_days(rows: FeatureRows, offset: timedelta) -> list[date]:
    """Local days of the rows' first and last exposure: days known only as undated history are not trained on."""
    moments = (int(rows.occurred_at.min()), int(rows.occurred_at.max()))
    return [(datetime.fromtimestamp(at / 1e6, UTC) + offset).date() for at in moments]


def split_at(rows: FeatureRows, boundary_us: int) -> tuple[FeatureRows, FeatureRows]:
    """Rows before the boundary, and the others, as views of `rows`, which are in time order."""
    cut = int(np.searchsorted(rows.occurred_at, boundary_us))
    return rows.between(0, cut), rows.between(cut, len(rows))
