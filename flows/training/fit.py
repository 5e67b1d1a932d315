"""Train a whole bundle: two-tower, light and heavy ranker on the same rows, then calibrate on rows kept out of training."""

from __future__ import annotations

import hashlib
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

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.epochs import OnProgress, Trained
from flows.training.evaluate import evaluate
from flows.training.fit_collaborative import fit_collaborative
from flows.training.fit_ensemble import fit_ensemble
from flows.training.fit_heavy import KeptOut, fit_heavy, schedule_for
from flows.training.fit_light import fit_light
from flows.training.fit_two_tower import fit_two_tower
from flows.training.hardware import Hardware
from flows.training.negative_sampling import check_share, sample_negatives
from flows.training.teacher import soft_targets
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import Calibration, check_method
from services.ranking.collaborative import CollaborativeVectors
from services.ranking.encoded_rows import EncodedRows
from services.ranking.id_hashing import hash_ids
from services.ranking.light import LightRanker
from services.ranking.members import Heavy, as_one
from services.ranking.normalise import Normaliser
from services.ranking.presets import DEFAULT, Ranker, ranker_config
from services.ranking.two_tower import TwoTower
from services.ranking.weights import weighted_score

CALIBRATION_SHARE = 0.05  # of the training rows
SEEDS_APART = 1_000_003  # of the heavy ranker's members, so that a member's draws are not another bundle's


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
    rows_per_s: int = 0  # of the heavy ranker's training
    ensemble: dict = field(default_factory=dict)  # by head: whether a stack is used, and the losses that decided it
    metrics: dict = field(default_factory=dict)  # on `validate`, empty without it

    def as_json(self) -> dict:
        return {**asdict(self), "folder": str(self.folder)}


class TrainingRowsError(ValueError):
    """The rows cannot be trained on."""


@dataclass(frozen=True)
class Recipe:
    """How a bundle is trained.

    `teacher_share` of the heavy ranker's targets is what boosted trees expect (see flows/training/teacher.py), the rest the
    labels. It learns from `kept_negatives` of each head's negatives and is set right for all of them; `calibration` is the
    method, auto takes the best of each head. The heavy ranker is of `members` networks, trained from different draws, whose
    mean is the answer. With `ensemble`, trees and popularity are stacked on it where that gains.
    """

    seed: int
    threads: int
    preset: str = DEFAULT
    members: int = 1
    teacher_share: float = 0.0
    kept_negatives: float = 1.0
    calibration: str = "auto"
    ensemble: bool = False
    patience: int = 0  # measurements on rows kept out without a gain that end the heavy ranker's training; 0 = none does
    device: str = "cpu"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"the heavy ranker is to be of {self.members} members; 1 is the least")
        check_share(self.kept_negatives)
        check_method(self.calibration)

    def details(self) -> dict:
        return {name: value for name, value in asdict(self).items() if name not in ("threads", "device")}


@dataclass(frozen=True)
class LearnedRows:
    """Training rows as the models read them: with collaborative vectors, normalised, and some kept out for calibration."""

    rows: FeatureRows  # all of them, with vectors
    vectors: CollaborativeVectors | None
    fitted: EncodedRows  # what models learn from
    held_out: np.ndarray  # bool, of all rows
    fingerprint: str

    @staticmethod
    def of(train: FeatureRows, seed: int) -> LearnedRows:
        """Raises TrainingRowsError where the rows cannot be trained on."""
        _check(train)
        vectors = fit_collaborative(train, seed)
        rows = train if vectors is None else vectors.extend(train)
        held_out = held_out_rows(train)
        fitted = EncodedRows(rows, Normaliser.fit(rows.blocks), chosen=np.flatnonzero(~held_out))
        return LearnedRows(rows, vectors, fitted, held_out, rows_fingerprint(train))

    @property
    def fitted_rows(self) -> FeatureRows:
        """What models learn from, in memory."""
        return self.rows.take(self.fitted.chosen)

    @property
    def kept_out(self) -> EncodedRows:
        """The same rows as `calibrating`, encoded when they are asked for."""
        return EncodedRows(self.rows, self.fitted.normaliser, chosen=np.flatnonzero(self.held_out))

    @property
    def calibrating(self) -> FeatureRows:
        """What no weight is trained on."""
        return self.rows.take(np.flatnonzero(self.held_out))


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
        learned = LearnedRows.of(train, how.seed)
    hardware = Hardware.chosen(how.device, how.precision)
    shared = {"seed": how.seed, "checkpoints": checkpoints, "hardware": hardware, "on_progress": on_progress}
    with _timed(seconds, "two_tower"):
        fitted = learned.fitted
        labels = learned.rows.labels[fitted.chosen]
        two_tower, tower_losses = fit_two_tower(fitted, labels, fingerprint=learned.fingerprint, **shared)
    heavy, trainings = _fit_members(learned, how, seconds, shared)
    bundle = _bundle(learned, how, heavy, two_tower)
    with _timed(seconds, "calibrate"):
        bundle.calibration = calibrate(bundle, learned.calibrating, how.calibration)
        bundle.details["calibration"] = list(bundle.calibration.methods)
    if how.ensemble:
        with _timed(seconds, "ensemble"):
            bundle.ensemble, bundle.details["ensemble"] = fit_ensemble(
                bundle, learned.fitted_rows, learned.calibrating, seed=how.seed, threads=how.threads
            )
    with _timed(seconds, "light"):
        bundle.light = _fit_light(bundle, learned, how.seed)
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
        rows_per_s=round(np.mean([trained.rows_per_second for trained in trainings.values()])),
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        ensemble=bundle.details.get("ensemble", {}),
        metrics=metrics,
    )


def _fit_members(
    learned: LearnedRows, how: Recipe, seconds: dict[str, float], shared: dict[str, Any]
) -> tuple[Heavy, dict[str, Trained]]:
    """The heavy ranker, and by member what its training came to; targets are partly a teacher's."""
    with _timed(seconds, "teacher"):
        targets = targets_of(learned, how)
    labels = learned.rows.labels[learned.fitted.chosen]
    negatives = None if how.kept_negatives == 1 else sample_negatives(labels, how.kept_negatives, how.seed)
    named = {
        "dwell_s": None if learned.rows.dwell_s is None else learned.rows.dwell_s[learned.fitted.chosen],
        "negatives": negatives,
        "config": ranker_config(how.preset, learned.fitted.normaliser.widths),
        "schedule": schedule_for(len(learned.fitted) if negatives is None else len(negatives.rows), how.preset),
        "fingerprint": f"{learned.fingerprint}/{how.teacher_share}/{how.kept_negatives}",
        "kept_out": KeptOut(learned.kept_out, learned.calibrating.labels, how.patience) if how.patience else None,
    }
    members: list[Ranker] = []
    trainings: dict[str, Trained] = {}
    with _timed(seconds, "heavy"):
        for number in range(how.members):
            name = "heavy" if number == 0 else f"heavy_{number + 1}"
            drawn = {**shared, "seed": how.seed + number * SEEDS_APART, "name": name}
            member, trainings[name] = fit_heavy(learned.fitted, targets, **named, **drawn)
            members.append(member)
    return as_one(members), trainings


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


def _fit_light(bundle: ModelBundle, learned: LearnedRows, seed: int) -> LightRanker:
    return fit_light(
        lambda slate: weighted_score(bundle.predict(slate)), learned.fitted_rows, bundle.normaliser, bundle.extended, seed=seed
    )


def calibrate(bundle: ModelBundle, rows: FeatureRows, method: str = "auto") -> Calibration:
    """Calibration of the heavy ranker's heads on rows that it was not trained on."""
    return Calibration.fit(bundle.heavy_logits(rows), rows.labels, method)


def rows_fingerprint(rows: FeatureRows) -> str:
    """16 hex digits over ids, times, labels and block sums: changes when the training rows do."""
    digest = hashlib.sha256()
    for array in (rows.user_id, rows.post_id, rows.occurred_at, rows.labels):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    for name in sorted(rows.blocks):
        digest.update(f"{name}{rows.blocks[name].shape}".encode())
        digest.update(np.nansum(rows.blocks[name], axis=0, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def held_out_rows(rows: FeatureRows) -> np.ndarray:
    """bool (n,): rows kept for calibration, chosen by a hash of the row so that every run keeps the same ones."""
    mixed = rows.user_id * 1_000_003 + rows.post_id * 10_007 + (0 if rows.occurred_at is None else rows.occurred_at // 1_000)
    return hash_ids(np.abs(mixed), 16) < CALIBRATION_SHARE * (1 << 16)


def _check(train: FeatureRows) -> None:
    if train.labels is None:
        raise TrainingRowsError("the rows carry no labels: build them with point_in_time_rows, not candidate_rows")
    if len(train) < 100:
        raise TrainingRowsError(f"{len(train)} training rows are too few: at least 100 exposures are needed")
    if len(train.history) != len(train):
        raise TrainingRowsError(f"{len(train)} rows share {len(train.history)} histories; training needs one history per row")


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
