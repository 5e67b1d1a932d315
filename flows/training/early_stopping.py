"""When to stop: the loss on rows kept out is measured after every part of an epoch, and the best weights are what is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flows.training.hardware import Hardware
from flows.training.process_group import ProcessGroup
from flows.training.step_draws import seed_random


@dataclass(frozen=True)
class Validation:
    """Rows kept out of training: `loss` maps indices of up to `batch` of its `rows` to a mean, as `Training.loss` does.

    `weights`, float32 (rows,), says how much each counts in that mean, as in `Training`.
    """

    loss: Callable[[Tensor], Tensor]
    rows: int
    patience: int | None = 3  # measurements in a row without a new best that end the training; None = none does
    batch: int = 1024
    weights: Tensor | None = None

    def identity(self) -> str:
        """Names what the training's outcome depends on."""
        return f"{self.rows} kept out in {self.batch}s, patience {self.patience}"

    def measure(self, model: nn.Module, hardware: Hardware, group: ProcessGroup, seed: int) -> float:
        """Mean loss of all rows under the model as it is, without dropout; the processes of `group` share the rows out.

        What the loss draws by itself it draws alike at every measurement.
        """
        learning = model.training
        model.eval()
        seed_random(seed, "validation", group.rank)
        total = torch.zeros(2, dtype=torch.float64)  # weighted losses, weights
        with torch.no_grad(), hardware.autocast():
            for batch in torch.arange(self.rows).split(self.batch):
                share = group.share(batch)
                weight = float(len(share) if self.weights is None else self.weights[share].sum(dtype=torch.float64))
                if weight > 0:
                    total += torch.tensor([float(self.loss(hardware.place(share))) * weight, weight], dtype=torch.float64)
        model.train(learning)
        lost, weight = group.summed(hardware.place(total)).tolist()
        return lost / weight if weight else math.nan

    def exhausted(self, losses: list[float]) -> bool:
        """True when the newest `patience` of all `losses` measured brought no new best."""
        return self.patience is not None and len(losses) > 0 and len(losses) - 1 - best(losses) >= self.patience


def best(losses: list[float]) -> int:
    """Which of the losses was the lowest; of equal ones the first."""
    return min(range(len(losses)), key=losses.__getitem__)
