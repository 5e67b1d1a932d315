"""Flow `retrain`: a challenger on the days lived through so far. It registers, and deploys nothing.

The challenger must pass a gate: on rows of the newest days that neither model learned from, its log loss may not be
worse than the champion's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from feature_repo.feature_rows import FeatureRows
from flows.days import microseconds
from flows.lakes import open_lakes, splits_of
from flows.progress import announce
from flows.retries import PURE_STEP
from flows.traffic.visits import in_sample
from flows.train import fit, headline, read_rows, register
from infra.settings import get_settings

GATE_SHARE = 0.15  # of the users, whose rows of the new days are kept out of training and judge the challenger
GATE_HEADS = ("click", "video_view")
GATE_TOLERANCE = 0.005  # log loss that a challenger may lose on a gate head: the noise of some thousand rows


class GateFailed(RuntimeError):
    """The challenger predicts the newest days worse than the champion does."""


@task(name="gate", **PURE_STEP)
def gate(folder: str, champion_folder: str, rows: FeatureRows) -> dict[str, Any]:
    """Both models on the rows kept out; raises GateFailed where the challenger is worse than tolerated."""
    from flows.training.compare import compare
    from flows.training.evaluate import evaluate
    from services.ranking.bundle import ModelBundle

    settings = get_settings()
    models = {"champion": champion_folder, "challenger": folder}
    metrics = {
        name: evaluate(ModelBundle.load(place, threads=settings.threads).predict(rows), rows.labels, rows)
        for name, place in models.items()
    }
    for head in GATE_HEADS:
        lost = metrics["challenger"][head]["log_loss"] - metrics["champion"][head]["log_loss"]
        if lost > GATE_TOLERANCE:
            raise GateFailed(
                f"on {len(rows):,} rows kept out, the challenger's {head} log loss is {lost:.4f} above the champion's "
                f"(tolerated: {GATE_TOLERANCE}); it is not registered"
            )
    table = compare(metrics)
    return {"metrics": table.as_dict(), "markdown": table.markdown(), "rows": len(rows)}


@flow(name="retrain")
def retrain_flow(reason: str = "scheduled") -> dict[str, Any]:
    """Train a challenger on every day in the lake; returns its registry version and the gate's figures."""
    from feature_repo.stored_rows import selected_rows
    from flows.training.registered_versions import bundle_of
    from flows.training.report import keep_report

    settings = get_settings()
    lake, _ = open_lakes(settings)
    days = lake.event_days()
    announce(f"retraining on {days[0]}..{days[-1]}: {reason}")
    rows = read_rows(days)
    kept_out = newest_users(rows, splits_of(settings).train_end)
    with selected_rows(settings.paths.training_rows, rows, np.flatnonzero(~kept_out)) as learned:
        report = fit(learned, f"challenger-{lake.fingerprint(days)}")
    champion = bundle_of(settings, "champion")
    passed = gate(str(report.folder), str(champion), rows.take(np.flatnonzero(kept_out)))
    tags = {"reason": reason, "days": f"{days[0]}..{days[-1]}"}
    version = register(report, passed, days, "challenger", tags)
    result = {
        "model_version": version,
        "reason": reason,
        "train_rows": report.rows,
        "headline": headline(passed["metrics"]),
        "gate": passed,
    }
    keep_report(settings, version, result, champion=False)
    create_markdown_artifact(key="challenger-gate", markdown=passed["markdown"], description=f"Version {version}: {reason}")
    return result


def newest_users(rows: FeatureRows, train_end: datetime) -> np.ndarray:
    """bool (n,): rows from `train_end` on of the users who judge the challenger."""
    return (rows.occurred_at >= microseconds(train_end)) & in_sample(rows.user_id, GATE_SHARE, get_settings().seed + 1)
