"""Fit the two towers: in-batch sampled softmax with log-Q correction, and the logged outcome of every exposure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flows.training.epochs import OnProgress, Schedule, Training
from flows.training.fit_light import engaged
from services.ranking.inputs import RowTensors, TableBits
from services.ranking.two_tower import TwoTower, TwoTowerConfig

SCHEDULE = Schedule(epochs=2, batch=1024, rate=1e-3, table_rate=4e-3)
LEAST_STEPS = 100  # an epoch of few rows takes smaller batches rather than too few steps
SOFTMAX_SHARE = 0.5  # of the loss; the rest is the logged outcome


def fit_two_tower(
    rows: RowTensors,
    labels: np.ndarray,
    *,
    seed: int,
    fingerprint: str,
    checkpoints: Path,
    on_progress: OnProgress | None = None,
) -> tuple[TwoTower, list[float]]:
    """Train on rows with a history each and `labels` (n, len(HEADS)); returns the towers and the loss by epoch."""
    torch.manual_seed(seed)
    widths = {name: block.shape[1] for name, block in rows.blocks.items()}
    model = TwoTower(TwoTowerConfig(widths, TableBits()))
    target = torch.from_numpy(engaged(labels))
    log_share = _log_share(rows.post)

    def loss(batch: Tensor) -> Tensor:
        part = rows.rows(batch)
        users = model.users(part.blocks["user"], part.history)
        posts = model.posts(part.blocks, part.post, part.author, part.topic)
        outcome = F.binary_cross_entropy_with_logits((users * posts).sum(1), target[batch])
        liked = target[batch].nonzero().squeeze(1)
        if len(liked) < 2:
            return outcome
        return (
            SOFTMAX_SHARE * _softmax(users[liked], posts[liked], part.post[liked], log_share[batch][liked])
            + (1 - SOFTMAX_SHARE) * outcome
        )

    schedule = replace(SCHEDULE, batch=max(2, min(SCHEDULE.batch, len(rows) // LEAST_STEPS)))
    training = Training("two_tower", model, loss, len(rows), schedule, seed, fingerprint)
    return model, training.run(checkpoints, on_progress)


def _softmax(users: Tensor, posts: Tensor, post: Tensor, log_share: Tensor) -> Tensor:
    """Each user's post against the batch's other posts, corrected for how often a post is drawn (Yi et al. 2019)."""
    logits = users @ posts.T - log_share
    same = (post[:, None] == post[None, :]) & ~torch.eye(len(post), dtype=torch.bool)
    return F.cross_entropy(logits.masked_fill(same, float("-inf")), torch.arange(len(post)))


def _log_share(post: Tensor) -> Tensor:
    """log of the share of rows that show each row's post, float32 (n,)."""
    _, inverse, count = torch.unique(post, return_inverse=True, return_counts=True)
    return (count.float() / len(post)).log()[inverse]
