"""The training loop that the networks share: seeded AdamW with warm-up and cosine decay, resumable within an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flows.training.checkpoints import Checkpoints

# Called with what is being trained, the share of it that is done (0..1) and the newest loss.
OnProgress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn."""

    epochs: int
    batch: int
    rate: float
    table_rate: float  # embedding tables see each row rarely and take larger steps
    weight_decay: float = 0.01
    warm_up: float = 0.05  # share of all steps
    floor: float = 0.02  # of the rate, at the end
    parts: int = 4  # checkpoints per epoch

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the rates at `step` of `steps`."""
        warm = max(1, int(self.warm_up * steps))
        if step < warm:
            return (step + 1) / warm
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@dataclass(frozen=True)
class Training:
    """One network's training: `loss` maps the row indices of a batch to a scalar. `fingerprint` names the data."""

    name: str
    model: nn.Module
    loss: Callable[[Tensor], Tensor]
    rows: int
    schedule: Schedule
    seed: int
    fingerprint: str

    def run(self, checkpoints: Path, on_progress: OnProgress | None = None) -> list[float]:
        """Train to the end, from the newest checkpoint where there is one; returns the mean loss of every epoch."""
        kept = Checkpoints(checkpoints / self.name, f"{self.fingerprint}/{self.seed}/{asdict(self.schedule)}")
        optimiser = self._optimiser()
        first, sums = kept.restore(self.model, optimiser)
        self.model.train()
        parts = self.schedule.parts
        for part in range(first, self.schedule.epochs * parts):
            sums.append(self._part(part, optimiser, on_progress))
            kept.save(part, self.model, optimiser, sums)
        self.model.eval()
        return [sum(sums[start : start + parts]) / max(1, self.rows) for start in range(0, len(sums), parts)]

    def _part(self, part: int, optimiser: torch.optim.Optimizer, on_progress: OnProgress | None) -> float:
        """Train on one part of an epoch; returns the sum of the rows' losses."""
        # Order and dropout depend on the seed, the epoch and the part alone: a resumed training draws what an unbroken
        # one would have.
        epoch, piece = divmod(part, self.schedule.parts)
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(self.seed * 1_000 + epoch))
        torch.manual_seed(self.seed * 1_000 + part)
        batches = order.split(self.schedule.batch)
        begin, end = (len(batches) * at // self.schedule.parts for at in (piece, piece + 1))
        total, steps = 0.0, len(batches) * self.schedule.epochs
        for index in range(begin, end):
            step = epoch * len(batches) + index
            value = self._step(batches[index], optimiser, self.schedule.factor(step, steps))
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{self.name}: loss is {value} at step {step}; look for odd values in the feature rows"
                )
            total += value * len(batches[index])
            if on_progress is not None and (index % 10 == 9 or index + 1 == end):
                on_progress(self.name, (step + 1) / steps, value)
        return total

    def _step(self, batch: Tensor, optimiser: torch.optim.Optimizer, factor: float) -> float:
        for group in optimiser.param_groups:
            group["lr"] = group["base_rate"] * factor
        loss = self.loss(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimiser.step()
        return float(loss.detach())

    def _optimiser(self) -> torch.optim.Optimizer:
        tables = [p for module in self.model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()]
        known = {id(p) for p in tables}
        rest = [p for p in self.model.parameters() if id(p) not in known]
        groups = [
            {"params": rest, "weight_decay": self.schedule.weight_decay, "base_rate": self.schedule.rate},
            {"params": tables, "weight_decay": 0.0, "base_rate": self.schedule.table_rate},
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=self.schedule.rate, betas=(0.9, 0.99), fused=True)
