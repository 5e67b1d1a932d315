"""Train a whole bundle: two-tower, light and heavy ranker on the same rows, then calibrate on rows kept out of training."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_repo.chosen_heads import check_trained
from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import HEADS, LEAST_TRAINED, MOST_DECIDING, judged_heads, trained_heads
from flows.training.epochs import OnProgress
from flows.training.evaluate import evaluate
from flows.training.fit_ensemble import fit_ensemble
from flows.training.fit_light import fit_light
from flows.training.fit_members import fit_members
from flows.training.fit_two_tower import fit_two_tower
from flows.training.hardware import Hardware
from flows.training.learned_rows import LearnedRows
from flows.training.recipe import Recipe
from flows.training.teacher import soft_targets
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import Calibration
from services.ranking.light import LightRanker
from services.ranking.members import Heavy
from services.ranking.two_tower import TwoTower
from services.ranking.weights import weighted_score


@dataclass(frozen=True)
class TrainReport:
    """What a training made and what it cost."""

    folder: Path
    version: str
    rows: int
    seed: int
    seconds: dict[str, float]  # by phase
    losses: dict[str, list[float]]  # model -> mean loss of every epoch
    peak_memory_mb: float  # of this process, up to the end of training
    rows_per_s: int = 0  # of the heavy ranker's training, all members together where they train side by side
    ensemble: dict = field(default_factory=dict)  # by head: whether a stack is used, and the losses that decided it
    metrics: dict = field(default_factory=dict)  # on `validate`, empty without it

    def as_json(self) -> dict:
        return {**asdict(self), "folder": str(self.folder)}


def train_bundle(
    train: FeatureRows, validate: FeatureRows | None, folder: Path, *, on_progress: OnProgress | None = None, **recipe: Any
) -> TrainReport:
    """Train all models on `train` by `Recipe(**recipe)` and save the bundle in `folder`.

    `validate` is only scored, never learned from. Checkpoints lie in `folder`/checkpoints while training runs: called again
    with the same rows and recipe after a kill, training carries on from the last checkpoint.
    """
    how = Recipe(**recipe)
    torch.set_num_threads(how.threads)
    folder = Path(folder)
    checkpoints = folder / "checkpoints"
    seconds: dict[str, float] = {}
    with _timed(seconds, "prepare"):
        learned = _learned(train, how)
    hardware = Hardware.chosen(how.device, how.precision)
    shared = {"seed": how.seed, "checkpoints": checkpoints, "hardware": hardware, "on_progress": on_progress}
    with _timed(seconds, "two_tower"):
        fitted = learned.fitted
        labels = learned.rows.labels[fitted.chosen]
        own = {"fingerprint": learned.fingerprint, "epochs": how.epochs, "bits": fitted.bits}
        two_tower, tower_losses = fit_two_tower(fitted, labels, **own, **shared)
    with _timed(seconds, "teacher"):
        targets = targets_of(learned, how)
    with _timed(seconds, "heavy"):
        heavy, trainings = fit_members(learned, targets, how, checkpoints, on_progress)
    bundle = _bundle(learned, how, heavy, two_tower)
    with _timed(seconds, "calibrate"):
        bundle.calibration = calibrate(bundle, learned.calibrating, how.calibration).answering(
            untaught_rates(learned, how.heads_least)
        )
        bundle.details["calibration"] = list(bundle.calibration.methods)
    if how.ensemble:
        with _timed(seconds, "ensemble"):
            bundle.ensemble, bundle.details["ensemble"] = fit_ensemble(
                bundle, learned.fitted_rows, learned.calibrating, seed=how.seed, threads=how.threads
            )
    with _timed(seconds, "light"):
        bundle.light = _fit_light(bundle, learned, how)
    bundle.save(folder)
    shutil.rmtree(checkpoints, ignore_errors=True)  # what they were kept for is finished
    metrics = {}
    if validate is not None:
        with _timed(seconds, "validate"):
            metrics = evaluate(bundle.predict(validate), validate.labels, validate)
    return TrainReport(
        folder=folder,
        version=bundle.version,
        rows=len(train),
        seed=how.seed,
        seconds={name: round(value, 2) for name, value in seconds.items()},
        losses={"two_tower": tower_losses, **{name: trained.losses for name, trained in trainings.items()}},
        rows_per_s=round(sum(trained.rows_per_second for trained in trainings.values())),
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        ensemble=bundle.details["ensemble"] if how.ensemble else {},
        metrics=metrics,
    )


def _learned(train: FeatureRows, how: Recipe) -> LearnedRows:
    """The rows to learn from; raises HeadError, before any training, where they do not teach a head that is to decide."""
    learned = LearnedRows.of(train, how.seed)
    labels = learned.rows.labels[learned.fitted.chosen]
    positives = dict(zip(HEADS, labels.sum(axis=0, dtype=np.int64).tolist(), strict=True))
    check_trained(how.deciding_heads, trained_heads(labels, how.heads_least), positives, how.heads_least)
    return learned


def targets_of(learned: LearnedRows, how: Recipe) -> np.ndarray:
    """What the heavy ranker learns, float32 (n, len(HEADS)); without a teacher nothing is read but the labels."""
    if how.teacher_share == 0:
        return learned.rows.labels[learned.fitted.chosen].astype(np.float32)
    options = {"share": how.teacher_share, "kept_negatives": how.kept_negatives, "seed": how.seed, "threads": how.threads}
    return soft_targets(learned.fitted_rows, **options)


def _bundle(learned: LearnedRows, how: Recipe, heavy: Heavy, two_tower: TwoTower) -> ModelBundle:
    """The bundle before calibration, its light ranker not yet fitted."""
    details = {**how.details(), "rows": len(learned.rows), "fingerprint": learned.fingerprint}
    if learned.rows.occurred_at is not None:
        details["trained_until_us"] = int(learned.rows.occurred_at.max())
    labels = learned.rows.labels
    details["heads"] = list(trained_heads(labels[learned.fitted.chosen], how.heads_least))
    details["deciding_heads"] = list(how.deciding_heads or judged_heads(labels, MOST_DECIDING, how.heads_least))
    details["positives"] = dict(zip(HEADS, labels.sum(axis=0, dtype=np.int64).tolist(), strict=True))
    normaliser = learned.fitted.normaliser
    return ModelBundle(
        heavy=heavy,
        light=LightRanker.zeros(normaliser.widths),
        two_tower=two_tower,
        normaliser=normaliser,
        calibration=Calibration.identity(len(HEADS)),
        names=dict(learned.rows.names),
        details=details,
        vectors=learned.vectors,
    )


def _fit_light(bundle: ModelBundle, learned: LearnedRows, how: Recipe) -> LightRanker:
    return fit_light(
        lambda slate: weighted_score(bundle.predict(slate)),
        learned.fitted_rows,
        bundle.normaliser,
        bundle.extended,
        seed=how.seed,
        count=how.slates,
    )


def calibrate(bundle: ModelBundle, rows: FeatureRows, method: str = "auto") -> Calibration:
    """Calibration of the heavy ranker's heads on rows that it was not trained on."""
    return Calibration.fit(bundle.heavy_logits(rows), rows.labels, method)


def untaught_rates(learned: LearnedRows, least: int = LEAST_TRAINED) -> dict[int, float]:
    """Where the heads stand in HEADS that the rows do not teach, and their share of positives: all that is known of them."""
    labels = learned.rows.labels[learned.fitted.chosen]
    taught = trained_heads(labels, least)
    return {place: float(labels[:, place].mean()) for place, head in enumerate(HEADS) if head not in taught}


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
