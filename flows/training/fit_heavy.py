"""Fit the heavy ranker: one weighted cross entropy over all heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from feature_repo.feature_rows import HEADS
from flows.training.epochs import OnProgress, Schedule, Training
from flows.training.negative_sampling import SampledNegatives
from services.ranking.inputs import RowTensors
from services.ranking.presets import DEFAULT, Ranker, RankerConfig, build, ranker_config

# One epoch: with tables of ids a second one overfits (Zhang et al. 2022, "one-epoch phenomenon") and costs as much again.
# Expectations are less noisy than labels: on them the second epoch still gains.
TAUGHT_EPOCHS = 2
SCHEDULE = Schedule(epochs=1, batch=128, rate=1e-3, table_rate=4e-3)
LEAST_STEPS = 400  # an epoch of few rows takes smaller batches rather than too few steps
LEAST_BATCH = 16


def schedule_for(rows: int, taught: bool = False) -> Schedule:
    """The schedule for that many training rows; `taught`: their targets are partly a teacher's expectations."""
    epochs = TAUGHT_EPOCHS if taught else SCHEDULE.epochs
    return replace(SCHEDULE, epochs=epochs, batch=max(LEAST_BATCH, min(SCHEDULE.batch, rows // LEAST_STEPS)))


# Weight of each head in the loss: the common actions teach the shared layers, the rarer ones must not drown in them.
HEAD_WEIGHTS = {
    "click": 1.0,
    "video_view": 1.0,
    "like": 2.0,
    "profile_click": 2.0,
    "follow": 1.0,
    "reply": 1.0,
    "share": 1.0,
    "not_interested": 1.0,
}


def fit_heavy(
    rows: RowTensors,
    labels: np.ndarray,
    *,
    seed: int,
    fingerprint: str,
    checkpoints: Path,
    config: RankerConfig | None = None,
    schedule: Schedule | None = None,
    negatives: SampledNegatives | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Ranker, list[float]]:
    """Train on rows with a history each and `labels` (n, len(HEADS)) in [0, 1]; returns the ranker and the loss by epoch.

    With `negatives`, those rows are trained on, each for the heads that use it, and the output's bias is set right for all
    rows afterwards: the ranker's probabilities are those of all rows.
    """
    if negatives is not None:
        index = torch.from_numpy(negatives.rows)
        rows, labels = rows.rows(index), labels[negatives.rows]
    torch.manual_seed(seed)
    widths = {name: block.shape[1] for name, block in rows.blocks.items()}
    config = config or ranker_config(DEFAULT, widths)
    model = build(config)
    used = np.ones(labels.shape, bool) if negatives is None else negatives.used
    _start_at_base_rates(model, labels, used)
    counted = torch.from_numpy(used.astype(np.float32))
    target = torch.from_numpy(labels.astype(np.float32))
    weight = torch.tensor([HEAD_WEIGHTS[head] for head in HEADS])

    def loss(batch: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(model(rows.rows(batch)), target[batch], reduction="none")
        by_head = (losses * counted[batch]).mean(0)
        return (by_head * weight).sum() / weight.sum()

    training = Training("heavy", model, loss, len(rows), schedule or schedule_for(len(rows)), seed, f"{fingerprint}/{config}")
    losses = training.run(checkpoints, on_progress)
    if negatives is not None:
        with torch.no_grad():
            model.output.bias.add_(negatives.logit_shift)
    return model, losses


def _start_at_base_rates(model: Ranker, labels: np.ndarray, used: np.ndarray) -> None:
    """Set the output bias to each action's log-odds: no step is spent on learning that most actions are rare."""
    rate = np.clip((labels * used).sum(axis=0) / np.maximum(used.sum(axis=0), 1), 1e-5, 1 - 1e-5)
    with torch.no_grad():
        model.output.bias.copy_(torch.from_numpy(np.log(rate / (1 - rate)).astype(np.float32)))
