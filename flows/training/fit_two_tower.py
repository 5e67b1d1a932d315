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
    epochs: int = SCHEDULE.epochs,
    bits: TableBits | None = None,
    on_progress: OnProgress | None = None,
    hardware: Hardware | None = None,
) -> tuple[TwoTower, list[float]]:
    """Train on rows with a history each and `labels` (n, len(HEADS)); returns the towers and the loss by epoch.

    bits: those that the rows were encoded with.

    Processes that train together learn what one would: each takes its negatives from the whole batch.
    """
    hardware = hardware or Hardware()
    torch.manual_seed(seed)
    widths = {name: block.shape[1] for name, block in rows.blocks.items()}
    model = TwoTower(TwoTowerConfig(widths, bits or TableBits()))
    schedule = replace(SCHEDULE, epochs=epochs, batch=max(2, min(SCHEDULE.batch, len(rows) // LEAST_STEPS)))
    loss = retrieval_loss(model, rows, torch.from_numpy(engaged(labels)), hardware)
    named = {"hardware": hardware, "whole_batch": True}
    training = Training("two_tower", model, loss, len(rows), schedule, seed, fingerprint, **named)
    return model, training.train(checkpoints, on_progress).losses


def retrieval_loss(
    model: TwoTower, rows: RowTensors | EncodedRows, target: Tensor, hardware: Hardware | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Loss of a share of a batch, both indices of `rows`, of which `target` float32 (n,) is 1 where a post was engaged with.

    Shares weigh what their rows do in the batch's loss; the mean over them by rows is the loss of the batch as its own share.
    The vectors of the other shares' posts are computed here once more rather than sent: the posts' tower is the cheap one, and
    the gradients of every process are whole without a message.
    """
    hardware = hardware or Hardware()
    target = hardware.place(target)
    draws = PostDraws.over(hardware.place(rows.post), target)

    def loss(share: Tensor, batch: Tensor) -> Tensor:
        own, known = torch.isin(batch, share), _known(batch)
        part = hardware.place(rows.rows(share.cpu()))
        users = model.users(part.blocks["user"], part.history)
        posts = model.posts(part.blocks, part.post, part.author, part.topic, known[own])
        outcome = F.binary_cross_entropy_with_logits((users * posts).sum(1), target[share])
        positives = int(target[batch].count_nonzero())
        if positives < 2:
            return outcome
        liked = target[share].nonzero().squeeze(1)
        if len(liked) == 0:
            return (1 - SOFTMAX_SHARE) * outcome
        drawn, others = draws.rows(UNIFORM), (target[batch] > 0) & ~own
        added = torch.cat([batch[others], drawn])
        vectors = _post_vectors(model, rows, added, torch.cat([known[others], _known(drawn)]), hardware)
        at = torch.cat([share[liked], added])
        fetched = sampled_softmax(
            users[liked] @ torch.cat([posts[liked], vectors]).T,
            draws.post_of_row[at],
            draws.post_of_row[share[liked]],
            draws.log_expected(at, positives - 1, UNIFORM),
        )
        weight = (len(liked) / positives) / (len(share) / len(batch))  # of the share's positives, beside that of its rows
        return SOFTMAX_SHARE * weight * fetched + (1 - SOFTMAX_SHARE) * outcome

    return loss


def _known(index: Tensor) -> Tensor:
    """bool (n,): false for the part of the rows whose post's own id is hidden: content and author learn to do without."""
    return torch.rand(len(index), device=index.device) >= ID_DROPOUT


def _post_vectors(model: TwoTower, rows: RowTensors | EncodedRows, index: Tensor, known: Tensor, hardware: Hardware) -> Tensor:
    """Post vectors (len(index), D + 1) as the rows at `index` have the posts; histories are not touched."""
    index = index.cpu()
    blocks = {name: hardware.place(rows.blocks[name][index]) for name in POST_BLOCKS}
    post, author, topic = (hardware.place(getattr(rows, name)[index]) for name in ("post", "author", "topic"))
    return model.posts(blocks, post, author, topic, known)
