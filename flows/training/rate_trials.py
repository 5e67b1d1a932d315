"""Learning rates tried: the heavy ranker fitted at each on the same rows, and judged on later days that none has seen."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.epochs import OnProgress, Schedule
from flows.training.evaluate import evaluate
from flows.training.fit import calibrate, targets_of
from flows.training.fit_heavy import fit_heavy, schedule_for
from flows.training.hardware import torch_threads
from flows.training.learned_rows import LearnedRows
from flows.training.negative_sampling import SampledNegatives, sample_negatives
from flows.training.recipe import Recipe
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import Calibration
from services.ranking.collaborative import CollaborativeVectors
from services.ranking.encoded_rows import EncodedRows
from services.ranking.light import LightRanker
from services.ranking.presets import DEFAULT, Ranker, ranker_config
from services.ranking.two_tower import TwoTower, TwoTowerConfig

JUDGED_HEADS = 2  # the most common ones, whose loss is no noise: their mean log loss chooses
FEWEST_RATES = 2
FEWEST_ROWS = 100  # of training, and of judging


class TrialError(ValueError):
    """The rates or the rows give nothing to compare."""


@dataclass(frozen=True)
class TrialRows:
    """What every trial learns from and is judged on; made once, so that trials differ by their rate alone."""

    learned: EncodedRows
    targets: np.ndarray  # float32 (len(learned), len(HEADS))
    dwell_s: np.ndarray | None  # float32 (len(learned),)
    negatives: SampledNegatives | None
    vectors: CollaborativeVectors | None
    calibrating: FeatureRows  # rows of the same days, kept out of learning
    judging: FeatureRows  # rows of later days
    schedule: Schedule  # at the ranker's own rate
    fingerprint: str
    preset: str
    calibration: str
    seed: int


@dataclass(frozen=True)
class Trial:
    """What one rate came to."""

    rate: float
    losses: list[float]  # of every epoch
    metrics: dict[str, dict[str, float | None]]  # by head, of calibrated probabilities on the judging rows
    seconds: float

    @property
    def judged_heads(self) -> tuple[str, ...]:
        """The JUDGED_HEADS most common heads of the judging rows."""
        return tuple(sorted(self.metrics, key=lambda head: -(self.metrics[head]["positives"] or 0))[:JUDGED_HEADS])

    @property
    def judged_loss(self) -> float:
        """Mean log loss of `judged_heads`, in nats: the least is the best."""
        return float(np.mean([self.metrics[head]["log_loss"] for head in self.judged_heads]))


def trial_rows(
    train: FeatureRows,
    judging: FeatureRows,
    *,
    seed: int,
    threads: int,
    preset: str = DEFAULT,
    teacher_share: float = 0.0,
    kept_negatives: float = 1.0,
    calibration: str = "auto",
) -> TrialRows:
    """Prepare `train` for learning as `train_bundle` does, with the same options, and `judging` (later rows) for judging.

    Raises TrialError where either has fewer than FEWEST_ROWS rows.
    """
    for name, rows in (("learn from", train), ("judge on", judging)):
        if len(rows) < FEWEST_ROWS:
            raise TrialError(f"{len(rows)} rows to {name} are too few: at least {FEWEST_ROWS} exposures are needed")
    named = {"teacher_share": teacher_share, "kept_negatives": kept_negatives, "calibration": calibration}
    how = Recipe(seed, threads, preset, **named)
    torch.set_num_threads(threads)
    learned = LearnedRows.of(train, seed)
    labels = learned.rows.labels[learned.fitted.chosen]
    negatives = None if kept_negatives == 1 else sample_negatives(labels, kept_negatives, seed)
    return TrialRows(
        learned=learned.fitted,
        targets=targets_of(learned, how),
        dwell_s=None if learned.rows.dwell_s is None else learned.rows.dwell_s[learned.fitted.chosen],
        negatives=negatives,
        vectors=learned.vectors,
        calibrating=learned.calibrating,
        judging=judging,
        schedule=schedule_for(len(labels) if negatives is None else len(negatives.rows), preset),
        fingerprint=f"{learned.fingerprint}/{teacher_share}/{kept_negatives}",
        preset=preset,
        calibration=calibration,
        seed=seed,
    )


def checked_rates(rates: Sequence[float]) -> list[float]:
    """The rates in ascending order, each once. Raises TrialError where they are too few, or one is not above 0."""
    odd = [rate for rate in rates if not (math.isfinite(rate) and rate > 0)]
    if odd:
        raise TrialError(f"a learning rate of {odd[0]} teaches nothing: rates are above 0, such as 0.001")
    distinct = sorted(set(rates))
    if len(distinct) < FEWEST_RATES:
        raise TrialError(f"{len(distinct)} different rates are nothing to compare: give at least {FEWEST_RATES}")
    return distinct


def rated(schedule: Schedule, rate: float) -> Schedule:
    """`schedule` at another rate; that of the embedding tables keeps its ratio to it."""
    return replace(schedule, rate=rate, table_rate=schedule.table_rate * rate / schedule.rate)


def fit_trial(rows: TrialRows, rate: float, folder: Path, on_progress: OnProgress | None = None) -> Trial:
    """Fit and judge at one rate. Checkpoints lie in `folder` until it is done: after a kill, the same call carries on.

    Raises FloatingPointError where the loss left the numbers, as too high a rate has it.
    """
    start = time.perf_counter()
    with torch_threads(1):  # as a member of the heavy ranker has
        model, trained = fit_heavy(
            rows.learned,
            rows.targets,
            dwell_s=rows.dwell_s,
            negatives=rows.negatives,
            config=ranker_config(rows.preset, rows.learned.normaliser.widths, rows.learned.bits),
            schedule=rated(rows.schedule, rate),
            seed=rows.seed,
            fingerprint=rows.fingerprint,
            checkpoints=folder,
            on_progress=on_progress,
        )
    bundle = _bundle(model, rows)
    bundle.calibration = calibrate(bundle, rows.calibrating, rows.calibration)
    metrics = evaluate(bundle.heavy_predict(rows.judging), rows.judging.labels, rows.judging)
    shutil.rmtree(folder, ignore_errors=True)
    return Trial(rate, trained.losses, metrics, round(time.perf_counter() - start, 2))


def _bundle(model: Ranker, rows: TrialRows) -> ModelBundle:
    """The heavy ranker as it is served and judged; the other models of the bundle have learned nothing and are not asked."""
    normaliser = rows.learned.normaliser
    return ModelBundle(
        heavy=model,
        light=LightRanker.zeros(normaliser.widths),
        two_tower=TwoTower(TwoTowerConfig(normaliser.widths)),
        normaliser=normaliser,
        calibration=Calibration.identity(len(HEADS)),
        names=dict(rows.judging.names),
        vectors=rows.vectors,
    )
