"""Flow `train`: the rankers on the training days, beside popularity and LightGBM on the same features; sets `champion`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from feature_repo.feature_rows import FeatureRows
from flows.days import microseconds
from flows.lakes import dataset_marker, open_lakes, split_days, splits_of
from flows.progress import announce
from flows.retries import FLAKY_EDGE, PURE_STEP
from infra.settings import get_settings


class NothingToJudgeOn(RuntimeError):
    """The dataset has no events after its training part."""


HEADLINE_HEAD = "click"


def rows_of(days: list[date]) -> FeatureRows:
    """Point-in-time rows of local `days`, oldest first, mapped from disk: only what is taken of them is in memory."""
    from feature_repo.stored_rows import stored_rows

    announce(f"point-in-time rows of {len(days)} days")
    return stored_rows(get_settings(), list(open_lakes(get_settings())), days)


@task(name="training rows", **FLAKY_EDGE)
def read_rows(days: list[date]) -> FeatureRows:
    return rows_of(days)


def _tell_fit(model: str, share: float, loss: float) -> None:
    announce(f"fitting {model}: {share:.0%}, loss {loss:.4f}")


@task(name="fit", **PURE_STEP)
def fit(train: FeatureRows, name: str) -> Any:
    """The bundle, in a folder named for its data, so that a killed fit finds its checkpoints again."""
    from flows.training.chosen_options import training_options
    from flows.training.fit import train_bundle

    settings = get_settings()
    folder = settings.paths.bundles / name
    options = training_options(settings)
    if settings.train_processes > 1:
        from flows.training.distributed import train_in_processes

        processes = settings.train_processes
        return train_in_processes(settings, train, folder, processes=processes, options=options, on_progress=_tell_fit)
    return train_bundle(train, None, folder, **options, on_progress=_tell_fit)


@task(name="evaluate beside baselines", **PURE_STEP)
def measure(bundle_folder: str, train: FeatureRows, test: FeatureRows) -> dict[str, Any]:
    """Every model on the same test rows: metrics by head, the heavy ranker's lead over LightGBM, retrieval, light ranker.

    The baselines read the bundle's collaborative vectors too.
    """
    from flows.training import baselines
    from flows.training.compare import auc_difference, compare
    from flows.training.evaluate import auc, dwell_metrics, evaluate
    from flows.training.fit_light import engaged
    from flows.training.index_recall import index_recall
    from flows.training.retrieval import recall
    from flows.training.survival import survival
    from services.ranking.bundle import ModelBundle

    settings = get_settings()
    lake, _ = open_lakes(settings)
    announce("heavy ranker on the test days")
    bundle = ModelBundle.load(bundle_folder, threads=settings.threads)
    test = bundle.extended(test)
    predictions = {"popularity": baselines.popularity(train, test)}
    announce("LightGBM on the same features")
    predictions["LightGBM"] = baselines.lightgbm(bundle.extended(train), test, seed=settings.seed, threads=settings.threads)
    predictions["heavy ranker"] = bundle.heavy_predict(test)
    if bundle.ensemble is not None:
        predictions["ensemble"] = bundle.predict(test)
    table = compare({name: evaluate(p, test.labels, test, day_offset=lake.day_offset) for name, p in predictions.items()})
    leads = [
        auc_difference(
            predictions["heavy ranker"], predictions["LightGBM"], test.labels, test.user_id, head, seed=settings.seed
        )
        for head in ("click", "video_view", "like", "profile_click")
    ]
    return {
        "metrics": table.as_dict(),
        "markdown": table.markdown(),
        "heavy_minus_lightgbm_auc": [lead.__dict__ for lead in leads if lead is not None],
        "light_ranker_auc": auc(bundle.light_score(test), engaged(test.labels)),
        "light_survival": survival(bundle, train, test, seed=settings.seed),
        "retrieval": recall(bundle, train, test, seed=settings.seed),
        "index_recall": index_recall(bundle, train, test, seed=settings.seed),
        "dwell": dwell_metrics(bundle.predicted_dwell_s(test), test.dwell_s, train.dwell_s),
        "test_rows": len(test),
    }


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
def train_flow() -> dict[str, Any]:
    """Train on the dataset's training days, evaluate on its replay days, register the champion."""
    from flows.training.report import keep_report

    settings = get_settings()
    train_end, test_days, _ = split_days(settings)
    splits = splits_of(settings)
    lake, _ = open_lakes(settings)
    days = [day for day in lake.event_days() if day <= train_end]
    if not test_days:
        raise NothingToJudgeOn("no event lies after the training part, so no model can be judged; " + "; ".join(splits.notes))
    rows = read_rows(sorted({*days, *test_days}))
    train, later = split_at(rows, microseconds(splits.train_end))
    test, _ = split_at(later, microseconds(splits.replay[1]))
    report = fit(train, f"champion-{lake.fingerprint(days)}")
    measured = measure(str(report.folder), train, test)
    version = register(report, measured, days, "champion", {"reason": "first training", "days": f"{days[0]}..{days[-1]}"})
    result = {
        "model_version": version,
        "headline": headline(measured["metrics"]),
        "dataset": dataset_marker(settings)["label"],
        "train_rows": len(train),
        "train_days": [str(day) for day in dated_days(train, lake.day_offset)],
        "test_days": [str(day) for day in test_days],
        "seconds": report.seconds,
        **measured,
    }
    keep_report(settings, version, result, champion=True)
    create_markdown_artifact(
        key="offline-metrics", markdown=measured["markdown"], description=f"Test days {test_days[0]}..{test_days[-1]}"
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


def headline(metrics: dict[str, Any]) -> str:
    """Click AUC of every model in one line."""
    return f"{HEADLINE_HEAD} AUC " + ", ".join(f"{name} {heads[HEADLINE_HEAD]['auc']:.4f}" for name, heads in metrics.items())
