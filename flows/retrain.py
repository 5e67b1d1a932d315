"""Flow `retrain`: a challenger on the days lived through so far. It registers, and deploys nothing.

The challenger must pass a gate: on rows of the newest days that neither model learned from, its log loss may not be
worse than the champion's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from feature_repo.feature_rows import FeatureRows
from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name, with_own_names
from flows.steps.days import microseconds
from flows.steps.drawn_rows import draw_of, judging, with_judges
from flows.steps.lakes import open_lakes, splits_of
from flows.steps.progress import announce
from flows.steps.retries import PURE_STEP
from flows.train import fit, learned_rows, read_rows, register, row_share
from flows.training.bundle_folder import bundle_folder
from flows.training.limits import TrainingLimits
from infra.settings import get_settings

GATE_SHARE = 0.15  # of the users, whose rows of the new days are kept out of training and judge the challenger
GATE_TOLERANCE = 0.005  # log loss that a challenger may lose on a gate head; what may be chance is not held against it


class GateFailed(RuntimeError):
    """The challenger predicts the newest days worse than the champion does, or there is nothing to tell by."""


@task(name="gate", **PURE_STEP)
def gate(folder: str, champion_folder: str, rows: FeatureRows) -> dict[str, Any]:
    """Both models on the rows kept out; raises GateFailed where the challenger is worse than tolerated or nothing judges it."""
    from feature_repo.chosen_heads import deciding_heads
    from feature_repo.heads import MOST_DECIDING, judged_heads
    from flows.training.compare import compare
    from flows.training.evaluate import evaluate
    from services.ranking.bundle import ModelBundle

    settings = get_settings()
    chosen, own_actions = deciding_heads(settings), slots_by_name(IdTable(settings.platform_database_url))
    heads = judged_heads(rows.labels, MOST_DECIDING, chosen=chosen)
    if not heads:
        raise GateFailed(with_own_names(nothing_to_judge_on(rows.labels, chosen), own_actions))
    models = {"champion": champion_folder, "challenger": folder}
    predicted = {name: ModelBundle.load(place, threads=settings.threads).predict(rows) for name, place in models.items()}
    if (worse := worse_than_tolerated(predicted["challenger"], predicted["champion"], rows, heads)) is not None:
        raise GateFailed(with_own_names(worse, own_actions))
    metrics = {name: evaluate(p, rows.labels, rows) for name, p in predicted.items()}
    table = compare(metrics)
    markdown = with_own_names(table.markdown(), own_actions)
    return {"metrics": table.as_dict(), "markdown": markdown, "rows": len(rows), "heads": list(heads)}


def worse_than_tolerated(challenger: np.ndarray, champion: np.ndarray, rows: FeatureRows, heads: Sequence[str]) -> str | None:
    """What the challenger loses on the first of `heads` on which it loses too much, None where it does on none.

    challenger, champion: probabilities (n, len(HEADS)) of `rows`. A loss counts where it is beyond GATE_TOLERANCE and its 95 %
    interval holds no gain: on few rows two trainings differ by chance alone, and the canary judges the challenger again.
    """
    from flows.training.compare import log_loss_difference

    for head in heads:
        try:
            lost = log_loss_difference(challenger, champion, rows.labels, rows.user_id, head)
        except ValueError as error:
            return f"on {len(rows):,} rows kept out, nothing can be judged: {error}; it is not registered"
        if lost.difference > GATE_TOLERANCE and lost.low > 0:
            return (
                f"on {len(rows):,} rows kept out, the challenger's {head} log loss is {lost.difference:.4f} above the "
                f"champion's (95 % interval {lost.low:.4f} to {lost.high:.4f}; tolerated: {GATE_TOLERANCE}); "
                "it is not registered"
            )
    return None


def nothing_to_judge_on(labels: np.ndarray, chosen: Sequence[str] = ()) -> str:
    """Why rows kept out with these labels (n, len(HEADS)) judge no challenger, and what to do.

    chosen: the heads that alone may judge it, where the settings name some.
    """
    from feature_repo.heads import LEAST_JUDGED

    action = f"none of {', '.join(chosen)} (MIXER_DECIDING_HEADS)" if chosen else "no action"
    return (
        f"nothing to judge the challenger on: {len(labels):,} rows of the newest days were kept out, and {action} was taken "
        f"{LEAST_JUDGED} times and left out {LEAST_JUDGED} times on them; it is not registered. Retrain when more of the new "
        "days was lived through"
    )


@flow(name="retrain")
def retrain_flow(reason: str = "scheduled", limits: TrainingLimits | None = None) -> dict[str, Any]:
    """Train a challenger on every day in the lake; returns its registry version and the gate's figures.

    limits: what it may cost where somebody waits for it; none by default.
    """
    from feature_repo.chosen_heads import deciding_heads
    from flows.training.headline import headline
    from flows.training.registered_versions import bundle_of
    from flows.training.report import keep_report

    settings = get_settings()
    deciding = deciding_heads(settings)
    lake, _ = open_lakes(settings)
    days = lake.event_days()
    announce(f"retraining on {days[0]}..{days[-1]}: {reason}")
    since_us = microseconds(splits_of(settings).train_end)
    share, exposures = row_share(days, limits)
    judges = (
        GATE_SHARE if exposures is None else min(GATE_SHARE, 2 * share)
    )  # judges of a small sample are few: their rows are built too
    rows = read_rows(days, with_judges(draw_of(share, settings.seed), judges, since_us, settings.seed))
    kept_out = newest_users(rows, since_us, judges)
    judging = rows.take(np.flatnonzero(kept_out))
    tags = {"reason": reason, "days": f"{days[0]}..{days[-1]}"}
    with (
        bundle_folder(settings.paths.bundles, f"challenger-{lake.fingerprint(days)}", announce) as folder,
        learned_rows(rows, np.flatnonzero(~kept_out), limits, exposures) as (learned, sample),
    ):
        report = fit(learned, folder, limits)
        passed = gate(str(report.folder), str(bundle_of(settings, "champion")), judging)
        version = register(report, passed, days, "challenger", {**tags, "learned_from": sample.words()})
    result = {
        "model_version": version,
        "reason": reason,
        "train_rows": report.rows,
        "learned_from": sample.words(),
        "sampled": not sample.whole,
        "headline": headline(passed["metrics"], deciding, slots_by_name(IdTable(settings.platform_database_url))),
        "gate": passed,
    }
    keep_report(settings, version, result, champion=False)
    create_markdown_artifact(key="challenger-gate", markdown=passed["markdown"], description=f"Version {version}: {reason}")
    return result


def newest_users(rows: FeatureRows, since_us: int, share: float = GATE_SHARE) -> np.ndarray:
    """bool (n,): rows from `since_us` on of the users who judge the challenger."""
    return (rows.occurred_at >= since_us) & judging(rows.user_id, share, get_settings().seed)
