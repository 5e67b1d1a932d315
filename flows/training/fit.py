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

import numpy as np
import torch

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.epochs import OnProgress
from flows.training.evaluate import evaluate
from flows.training.fit_heavy import fit_heavy, schedule_for
from flows.training.fit_light import fit_light
from flows.training.fit_two_tower import fit_two_tower
from flows.training.negative_sampling import check_share, sample_negatives
from flows.training.teacher import soft_targets
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import Calibration, check_method
from services.ranking.id_hashing import hash_ids
from services.ranking.inputs import TableBits, row_tensors
from services.ranking.light import LightRanker
from services.ranking.normalise import Normaliser
from services.ranking.presets import DEFAULT, ranker_config
from services.ranking.weights import weighted_score

CALIBRATION_SHARE = 0.05  # of the training rows


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
    metrics: dict = field(default_factory=dict)  # heavy ranker on `validate`, empty without it

    def as_json(self) -> dict:
        return {**asdict(self), "folder": str(self.folder)}


class TrainingRowsError(ValueError):
    """The rows cannot be trained on."""


def train_bundle(
    train: FeatureRows,
    validate: FeatureRows | None,
    folder: Path,
    *,
    seed: int,
    threads: int,
    preset: str = DEFAULT,
    teacher_share: float = 0.0,
    kept_negatives: float = 1.0,
    calibration: str = "auto",
    on_progress: OnProgress | None = None,
) -> TrainReport:
    """Train all three models on `train`, the heavy one by `preset`, and save the bundle in `folder`.

    `teacher_share` of the heavy ranker's targets is what boosted trees expect (see flows/training/teacher.py), the rest the
    labels. It learns from `kept_negatives` of each head's negatives and is set right for all of them; `calibration` is the
    method, auto takes the best of each head. `validate` is only scored, never learned from. Checkpoints lie in
    `folder`/checkpoints while training runs: called again with the same rows and seed after a kill, training carries on from
    the last checkpoint.
    """
    _check(train)
    check_share(kept_negatives)
    check_method(calibration)
    torch.set_num_threads(threads)
    folder = Path(folder)
    checkpoints = folder / "checkpoints"
    seconds: dict[str, float] = {}
    fingerprint = rows_fingerprint(train)
    held_out = held_out_rows(train)
    with _timed(seconds, "prepare"):
        normaliser = Normaliser.fit(train.blocks)
        fit_rows = train.take(np.flatnonzero(~held_out))
        tensors = row_tensors(fit_rows, normaliser, TableBits())
    shared = {"seed": seed, "fingerprint": fingerprint, "checkpoints": checkpoints, "on_progress": on_progress}
    with _timed(seconds, "two_tower"):
        two_tower, tower_losses = fit_two_tower(tensors, fit_rows.labels, **shared)
    with _timed(seconds, "teacher"):
        options = {"share": teacher_share, "kept_negatives": kept_negatives}
        targets = soft_targets(fit_rows, **options, seed=seed, threads=threads)
    with _timed(seconds, "heavy"):
        shared["fingerprint"] = f"{fingerprint}/{teacher_share}/{kept_negatives}"
        negatives = None if kept_negatives == 1 else sample_negatives(fit_rows.labels, kept_negatives, seed)
        learned = len(tensors) if negatives is None else len(negatives.rows)
        shape = {"config": ranker_config(preset, normaliser.widths), "schedule": schedule_for(learned, teacher_share > 0)}
        heavy, heavy_losses = fit_heavy(tensors, targets, negatives=negatives, **shape, **shared)
    details = {
        **_details(train, seed, fingerprint),
        "preset": preset,
        "teacher_share": teacher_share,
        "kept_negatives": kept_negatives,
    }
    light = LightRanker.zeros(normaliser.widths)
    bundle = ModelBundle(heavy, light, two_tower, normaliser, Calibration.identity(len(HEADS)), dict(train.names), details)
    with _timed(seconds, "calibrate"):
        bundle.calibration = calibrate(bundle, train.take(np.flatnonzero(held_out)), calibration)
        bundle.details["calibration"] = list(bundle.calibration.methods)
    with _timed(seconds, "light"):
        bundle.light = fit_light(lambda slate: weighted_score(bundle.heavy_predict(slate)), fit_rows, normaliser, seed=seed)
    bundle.save(folder)
    shutil.rmtree(checkpoints, ignore_errors=True)  # what they were kept for is finished
    metrics = {}
    if validate is not None:
        with _timed(seconds, "validate"):
            metrics = evaluate(bundle.heavy_predict(validate), validate.labels, validate)
    return TrainReport(
        folder=folder,
        version=bundle.version,
        rows=len(train),
        seed=seed,
        seconds={name: round(value, 2) for name, value in seconds.items()},
        losses={"two_tower": tower_losses, "heavy": heavy_losses},
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        metrics=metrics,
    )


def _details(train: FeatureRows, seed: int, fingerprint: str) -> dict:
    details = {"seed": seed, "rows": len(train), "fingerprint": fingerprint}
    if train.occurred_at is not None:
        details["trained_until_us"] = int(train.occurred_at.max())
    return details


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
