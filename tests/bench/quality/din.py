"""Peer: a deep interest network on the same features, hashed ids and histories as our ranker, and calibrated like it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from feature_repo.feature_rows import FeatureRows
from flows.steps.progress import announce
from flows.training.epochs import Schedule, Training
from flows.training.learned_rows import held_out_rows, rows_fingerprint
from services.ranking.calibration import Calibration
from services.ranking.inputs import TableBits, row_tensors
from services.ranking.normalise import Normaliser
from tests.bench.quality.din_network import DeepInterestNetwork, DinConfig, losses
from tests.bench.quality.measured_heads import MEASURED, Predict, measured_labels

NAME = "DIN"
# One epoch: on the newest training days a second one lost .005 of click AUC, as it does for our ranker without a teacher.
SCHEDULE = Schedule(epochs=1, batch=128, rate=1e-3, table_rate=4e-3)
HEAD_WEIGHTS = (1.0, 1.0, 2.0, 2.0)
LEAST_STEPS, LEAST_BATCH = 400, 16  # few rows take smaller batches rather than too few steps
_ROWS_PER_PASS = 4_096


def fit(train: FeatureRows, seed: int, threads: int, folder: Path, schedule: Schedule = SCHEDULE) -> dict[str, Predict]:
    """Learn from most rows, calibrate on those that our ranker is calibrated on; carries on from checkpoints in `folder`."""
    torch.set_num_threads(threads)
    held_out = held_out_rows(train)
    normaliser = Normaliser.fit(train.blocks)
    fitted = train.take(np.flatnonzero(~held_out))
    model = _trained(fitted, normaliser, seed, folder, schedule)
    kept = train.take(np.flatnonzero(held_out))
    calibration = Calibration.fit(_logits(model, normaliser, kept), measured_labels(kept))
    return {NAME: lambda rows: calibration.apply(_logits(model, normaliser, rows)).astype(np.float32)}


def _trained(fitted: FeatureRows, normaliser: Normaliser, seed: int, folder: Path, schedule: Schedule) -> DeepInterestNetwork:
    torch.manual_seed(seed)
    tensors = row_tensors(fitted, normaliser, TableBits())
    target = torch.from_numpy(measured_labels(fitted).astype(np.float32))
    model = DeepInterestNetwork(DinConfig(normaliser.widths, len(MEASURED)))
    _start_at_base_rates(model, target)
    weight = torch.tensor(HEAD_WEIGHTS)
    schedule = replace(schedule, batch=max(LEAST_BATCH, min(schedule.batch, len(fitted) // LEAST_STEPS)))
    training = Training(
        "din",
        model,
        lambda batch: losses(model(tensors.rows(batch)), target[batch], weight),
        len(fitted),
        schedule,
        seed,
        rows_fingerprint(fitted),
    )
    training.train(folder / "checkpoints", lambda _, share, loss: announce(f"{NAME}: {share:.0%}, loss {loss:.4f}"))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return model


def _start_at_base_rates(model: DeepInterestNetwork, target: torch.Tensor) -> None:
    """No step is spent on learning that most actions are rare."""
    rate = target.mean(0).clamp(1e-5, 1 - 1e-5)
    with torch.no_grad():
        model.output.bias.copy_(torch.logit(rate))


def _logits(model: DeepInterestNetwork, normaliser: Normaliser, rows: FeatureRows) -> np.ndarray:
    """float32 (n, len(MEASURED))."""
    parts = [np.empty((0, len(MEASURED)), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(rows), _ROWS_PER_PASS):
            part = rows.take(np.arange(start, min(start + _ROWS_PER_PASS, len(rows))))
            parts.append(model(row_tensors(part, normaliser, TableBits())).numpy())
    return np.concatenate(parts)
