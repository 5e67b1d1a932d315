"""Fit the two towers: a softmax sampled in the batch and uniformly with log-Q correction, and every logged outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flows.training.epochs import OnProgress, Schedule, Training
from flows.training.fit_light import engaged
from flows.training.hardware import Hardware
from flows.training.sampled_softmax import PostDraws, sampled_softmax
from services.ranking.encoded_rows import EncodedRows
from services.ranking.inputs import RowTensors, TableBits
from services.ranking.two_tower import POST_BLOCKS, TwoTower, TwoTowerConfig

SCHEDULE = Schedule(epochs=2, batch=1024, rate=1e-3, table_rate=4e-3)
LEAST_STEPS = 100  # an epoch of few rows takes smaller batches rather than too few steps
SOFTMAX_SHARE = 0.8  # of the loss; the rest is the logged outcome
UNIFORM = 1024  # posts drawn uniformly for every batch: a post that is never shown is a negative too
ID_DROPOUT = 0.2  # of posts in a batch


def fit_two_tower(
    rows: RowTensors | EncodedRows,
    labels: np.ndarray,
    *,
    seed: int,
    fingerprint: str,
    checkpoints: Path,
    on_progress: OnProgress | None = None,
    hardware: Hardware | None = None,
) -> tuple[TwoTower, list[float]]:
    """Train on rows with a history each and `labels` (n, len(HEADS)); returns the towers and the loss by epoch.

    Among processes that train together each takes its negatives from its own share of a batch, and uniform draws of its own.
    """
    hardware = hardware or Hardware()
    torch.manual_seed(seed)
    widths = {name: block.shape[1] for name, block in rows.blocks.items()}
    model = TwoTower(TwoTowerConfig(widths, TableBits()))
    schedule = replace(SCHEDULE, batch=max(2, min(SCHEDULE.batch, len(rows) // LEAST_STEPS)))
    loss = retrieval_loss(model, rows, torch.from_numpy(engaged(labels)), hardware)
    training = Training("two_tower", model, loss, len(rows), schedule, seed, fingerprint, hardware=hardware)
    return model, training.train(checkpoints, on_progress).losses


def retrieval_loss(
    model: TwoTower, rows: RowTensors | EncodedRows, target: Tensor, hardware: Hardware | None = None
) -> Callable[[Tensor], Tensor]:
    """Loss of a batch of indices of `rows`, of which `target` float32 (n,) is 1 where a post was engaged with."""
    hardware = hardware or Hardware()
    target = hardware.place(target)
    draws = PostDraws.over(hardware.place(rows.post), target)

    def loss(batch: Tensor) -> Tensor:
        part = hardware.place(rows.rows(batch.cpu()))
        users = model.users(part.blocks["user"], part.history)
        posts = model.posts(part.blocks, part.post, part.author, part.topic, _known(part.post))
        outcome = F.binary_cross_entropy_with_logits((users * posts).sum(1), target[batch])
        liked = target[batch].nonzero().squeeze(1)
        if len(liked) < 2:
            return outcome
        drawn = draws.rows(UNIFORM)
        columns = torch.cat([posts[liked], _post_vectors(model, rows, drawn, hardware)])
        at = torch.cat([batch[liked], drawn])
        fetched = sampled_softmax(
            users[liked] @ columns.T,
            draws.post_of_row[at],
            draws.post_of_row[batch[liked]],
            draws.log_expected(at, len(liked) - 1, UNIFORM),
        )
        return SOFTMAX_SHARE * fetched + (1 - SOFTMAX_SHARE) * outcome

    return loss


def _known(post: Tensor) -> Tensor:
    """bool (n,): false for the share of posts whose own id is hidden, so that content and author learn to do without."""
    return torch.rand(len(post), device=post.device) >= ID_DROPOUT


def _post_vectors(model: TwoTower, rows: RowTensors | EncodedRows, index: Tensor, hardware: Hardware) -> Tensor:
    """Post vectors (len(index), D + 1) as the rows at `index` have the posts; histories are not touched."""
    index = index.cpu()
    blocks = {name: hardware.place(rows.blocks[name][index]) for name in POST_BLOCKS}
    post, author, topic = (hardware.place(getattr(rows, name)[index]) for name in ("post", "author", "topic"))
    return model.posts(blocks, post, author, topic, _known(post))
