"""A small network with an embedding table, dropout and a learnable rule: what the training loop's own tests train.

As a program, alone or under torchrun, it trains what a JSON list of specifications says, one after the other, and writes what
they came to into NAME.json of the folder given: `toy_training FOLDER '[{"name": ..., ...}]'`. It can be told to die.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flows.training import checkpoints
from flows.training.epochs import Schedule, Trained, Training
from flows.training.process_group import ProcessGroup

ROWS = 200
SCHEDULE = Schedule(epochs=2, batch=16, rate=1e-2, table_rate=2e-2, checkpoint_every=5)  # 26 steps


class Toy(nn.Module):
    """Three ids a row to one logit; `rare` is learned from batches that hold row 0 alone."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 8)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(24, 1)
        self.rare = nn.Parameter(torch.ones(1))

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.dropout(self.table(ids).flatten(1))).squeeze(1)


def toy_loss(model: Toy, weights: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Mean cross entropy of "is the sum of three ids odd?" over the rows of a batch, by `weights` where there are some."""
    ids = torch.randint(0, 40, (ROWS, 3), generator=torch.Generator().manual_seed(0))
    target = (ids.sum(1) % 2).float()

    def loss(batch: Tensor) -> Tensor:
        logits = model(ids[batch]) + torch.where(batch == 0, model.rare, 0.0) if 0 in batch else model(ids[batch])
        losses = nn.functional.binary_cross_entropy_with_logits(logits, target[batch], reduction="none")
        return losses.mean() if weights is None else (losses * weights[batch]).sum() / weights[batch].sum()

    return loss


def toy_training(
    seed: int = 1, fingerprint: str = "rows", schedule: Schedule = SCHEDULE, dropout: float = 0.3, weighted: bool = False
) -> Training:
    torch.manual_seed(seed)
    model = Toy(dropout)
    weights = torch.arange(ROWS).remainder(5).float() if weighted else None
    return Training("toy", model, toy_loss(model, weights), ROWS, schedule, seed, fingerprint, weights)


def weights(training: Training) -> Tensor:
    """All of its model's weights, float32 (n,)."""
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


@dataclass(frozen=True)
class ToySpecification:
    """One training of the program; with `dies` it kills its process at the loss or the checkpoint of that number, 0-based."""

    name: str
    batch: int = SCHEDULE.batch
    dropout: float = 0.3
    weighted: bool = False
    dies: int | None = None
    at: str = "loss"
    rank: int = 0  # of the process that dies

    def training(self) -> Training:
        schedule = replace(SCHEDULE, batch=self.batch)
        training = replace(toy_training(schedule=schedule, dropout=self.dropout, weighted=self.weighted), name=self.name)
        if self.dies is None or ProcessGroup.current().rank != self.rank:
            return training
        if self.at == "loss":
            return replace(training, loss=_die_at_loss(training, self.dies))
        checkpoints.save_file = _die_at_checkpoint(self.dies)
        return training

    def outcome(self, training: Training, trained: Trained) -> dict:
        return {"curve": trained.curve, "losses": trained.losses, "weights": weights(training).tolist()}


def _die_at_loss(training: Training, calls_left: int) -> Callable[[Tensor], Tensor]:
    left = [calls_left]

    def loss(batch: Tensor) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return training.loss(batch)

    return loss


def _die_at_checkpoint(saves_left: int) -> Callable[..., None]:
    """Writes, then dies before the new file takes the old one's place."""
    left = [saves_left]

    def save_then_die(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, file, metadata)
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return save_then_die


def main(folder: str, specifications: str) -> None:
    torch.set_num_threads(1)
    for specification in (ToySpecification(**content) for content in json.loads(specifications)):
        training, told = specification.training(), []
        outcome = specification.outcome(training, training.train(Path(folder), lambda *said, told=told: told.append(said)))
        rank = ProcessGroup.current().rank
        name = f"{specification.name}.json" if rank == 0 else f"{specification.name}-{rank}.json"
        (Path(folder) / name).write_text(json.dumps({**outcome, "told": len(told)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
