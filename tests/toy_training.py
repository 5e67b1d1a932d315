"""A small network with an embedding table, dropout and a learnable rule: what the training loop's own tests train.

As a program it trains in the folder given, on threads of one, and can be told to die: `toy_training FOLDER KILL_AT WHERE`,
at a step's loss (`loss`) or between a checkpoint's writing and its taking the old one's place (`checkpoint`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flows.training import checkpoints
from flows.training.epochs import Schedule, Training

ROWS = 200
SCHEDULE = Schedule(epochs=2, batch=16, rate=1e-2, table_rate=2e-2, checkpoint_every=5)  # 26 steps


def toy_model(dropout: float = 0.3, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Embedding(40, 8), nn.Flatten(), nn.Dropout(dropout), nn.Linear(24, 1))


def toy_loss(model: nn.Module, rows: int = ROWS, draw: int = 0) -> Callable[[Tensor], Tensor]:
    """Mean cross entropy of "is the sum of three ids odd?" over the rows of a batch."""
    ids = torch.randint(0, 40, (rows, 3), generator=torch.Generator().manual_seed(draw))
    target = (ids.sum(1) % 2).float()

    def loss(batch: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(model(ids[batch]).squeeze(1), target[batch])

    return loss


def toy_training(seed: int = 1, fingerprint: str = "rows", schedule: Schedule = SCHEDULE, dropout: float = 0.3) -> Training:
    model = toy_model(dropout, seed)
    return Training("toy", model, toy_loss(model), ROWS, schedule, seed, fingerprint)


def weights(training: Training) -> Tensor:
    """All of its model's weights, float32 (n,)."""
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


def _die_at_loss(training: Training, calls_left: int) -> Callable[[Tensor], Tensor]:
    left = [calls_left]

    def loss(batch: Tensor) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return training.loss(batch)

    return loss


def _die_at_checkpoint(saves_left: int) -> None:
    left = [saves_left]

    def save_then_die(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, file, metadata)
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.save_file = save_then_die


def main(folder: str, kill_at: str, where: str) -> None:
    """Write what the training came to into `folder`/toy.json, unless it dies first."""
    torch.set_num_threads(1)
    training = toy_training()
    if where == "loss":
        training = replace(training, loss=_die_at_loss(training, int(kill_at)))
    elif where == "checkpoint":
        _die_at_checkpoint(int(kill_at))
    trained = training.train(Path(folder))
    (Path(folder) / "toy.json").write_text(json.dumps({"curve": trained.curve, "weights": weights(training).tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
