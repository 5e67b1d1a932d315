"""Fit the two towers: a softmax sampled in the batch and uniformly with log-Q correction, and every logged outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flows.training.epochs import OnProgress, Schedule, Training
from flows.training.fit_light import engaged
from flows.training.sampled_softmax import PostDraws, sampled_softmax
from services.ranking.inputs import RowTensors, TableBits
from services.ranking.two_tower import POST_BLOCKS, TwoTower, TwoTowerConfig

SCHEDULE = Schedule(epochs=2, batch=1024, rate=1e-3, table_rate=4e-3)
LEAST_STEPS = 100  # an epoch of few rows takes smaller batches rather than too few steps
SOFTMAX_SHARE = 0.8  # of the loss; the rest is the logged outcome
UNIFORM = 1024  # posts drawn uniformly for every batch: a post that is never shown is a negative too
ID_DROPOUT = 0.2  # of posts in a batch


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
    draws = PostDraws.over(rows.post, target)

    def loss(batch: Tensor) -> Tensor:
        part = rows.rows(batch)
        users = model.users(part.blocks["user"], part.history)
        posts = model.posts(part.blocks, part.post, part.author, part.topic, _known(len(batch)))
        outcome = F.binary_cross_entropy_with_logits((users * posts).sum(1), target[batch])
        liked = target[batch].nonzero().squeeze(1)
        if len(liked) < 2:
            return outcome
        drawn = draws.rows(UNIFORM)
        columns = torch.cat([posts[liked], _post_vectors(model, rows, drawn)])
        at = torch.cat([batch[liked], drawn])
        fetched = sampled_softmax(
            users[liked] @ columns.T,
            draws.post_of_row[at],
            draws.post_of_row[batch[liked]],
            draws.log_expected(at, len(liked) - 1, UNIFORM),
        )
        return SOFTMAX_SHARE * fetched + (1 - SOFTMAX_SHARE) * outcome

    schedule = replace(SCHEDULE, batch=max(2, min(SCHEDULE.batch, len(rows) // LEAST_STEPS)))
    training = Training("two_tower", model, loss, len(rows), schedule, seed, fingerprint)
    return model, training.run(checkpoints, on_progress)


def _known(rows: int) -> Tensor:
    """bool (rows,): false for the share of posts whose own id is hidden, so that content and author learn to do without."""
    return torch.rand(rows) >= ID_DROPOUT


def _post_vectors(model: TwoTower, rows: RowTensors, index: Tensor) -> Tensor:
    """Post vectors (len(index), D + 1) as the rows at `index` have the posts; histories are not touched."""
    blocks = {name: rows.blocks[name][index] for name in POST_BLOCKS}
    return model.posts(blocks, rows.post[index], rows.author[index], rows.topic[index], _known(len(index)))
