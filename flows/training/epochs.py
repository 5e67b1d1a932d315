"""The training loop that the networks share: seeded AdamW with warm-up and cosine decay, resumable at any step."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flows.training.checkpoints import Checkpoints, unpacked
from flows.training.process_group import ProcessGroup
from flows.training.step_draws import Batches, seed_random
from flows.training.training_progress import TrainingProgress

# Called with what is being trained, the share of it that is done (0..1) and the newest loss.
OnProgress = Callable[[str, float, float], None]
TOLD_EVERY = 10  # steps


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
    parts: int = 4  # of an epoch; a validation follows each
    checkpoint_every: int = 100  # steps that a kill costs at most; no part of the outcome

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the rates at `step` of `steps`."""
        warm = max(1, int(self.warm_up * steps))
        if step < warm:
            return (step + 1) / warm
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    losses: list[float]  # mean of every epoch
    curve: list[float]  # of every step


@dataclass(frozen=True)
class Training:
    """One network's training: `loss` maps the row indices of a batch to a scalar. `fingerprint` names the data.

    Started by torchrun, the processes share every batch out; losses are those of the whole batch. `weights`, float32 (rows,),
    says how much a row counts in the mean that `loss` returns (a sequence's exposures, say), one each where there are none:
    so that processes with shares of different weight come to what one process would.
    """

    name: str
    model: nn.Module
    loss: Callable[[Tensor], Tensor]
    rows: int
    schedule: Schedule
    seed: int
    fingerprint: str
    weights: Tensor | None = None

    def run(self, checkpoints: Path, on_progress: OnProgress | None = None) -> list[float]:
        """`train`, for callers that ask for no more than the mean loss of every epoch."""
        return self.train(checkpoints, on_progress).losses

    def train(self, checkpoints: Path, on_progress: OnProgress | None = None) -> Trained:
        """Train to the end, from the newest checkpoint where there is one.

        Killed at any step and called again, it comes to the same weights and the same loss at every step, bit for bit.
        Raises FloatingPointError where a loss or a gradient is not finite, CheckpointError where a checkpoint is damaged.
        """
        if self.rows < 1 or self._weight(torch.arange(self.rows)) == 0:
            raise ValueError(f"{self.name}: there are no rows to learn from; widen the training days")
        group = ProcessGroup.current()
        progress = TrainingProgress(self.model, self._optimiser())
        kept = self._resume(checkpoints, progress, group)
        batches = Batches(self.rows, self.schedule.batch, self.seed)
        steps = batches.per_epoch * self.schedule.epochs
        self.model.train()
        for step in range(len(progress.curve), steps):
            progress.curve.append(self._step(step, steps, batches.at(step), progress.optimiser, group))
            done = step + 1
            if group.leads and (done % self.schedule.checkpoint_every == 0 or done == steps):
                kept.save(progress.tensors())
            if group.leads and on_progress is not None and (done % TOLD_EVERY == 0 or done == steps):
                on_progress(self.name, done / steps, progress.curve[-1])
        self.model.eval()
        return Trained(self._by_epoch(progress.curve, batches), progress.curve)

    def _resume(self, checkpoints: Path, progress: TrainingProgress, group: ProcessGroup) -> Checkpoints:
        """Take up the newest checkpoint, in all processes that of the first, which alone needs to see the folder."""
        identity = self._identity()
        group.agree(identity, self.name)
        kept = Checkpoints(checkpoints / self.name, identity)
        content = group.broadcast(kept.newest() if group.leads else b"")
        if content:
            progress.restore(unpacked(content))
        else:
            group.same_weights(self.model)
        return kept

    def _identity(self) -> str:
        """Names all that the outcome depends on: a checkpoint of anything else is not gone on from."""
        schedule = {name: value for name, value in asdict(self.schedule).items() if name != "checkpoint_every"}
        return f"{self.fingerprint}/{self.seed}/{schedule}"

    def _by_epoch(self, curve: list[float], batches: Batches) -> list[float]:
        """Mean loss of the rows of every epoch."""
        means = []
        for start in range(0, len(curve), batches.per_epoch):
            losses = curve[start : start + batches.per_epoch]
            counts = [self._weight(batches.at(start + index)) for index in range(len(losses))]
            means.append(math.fsum(map(operator.mul, losses, counts)) / math.fsum(counts))
        return means

    def _weight(self, batch: Tensor) -> float:
        return float(len(batch) if self.weights is None else self.weights[batch].sum(dtype=torch.float64))

    def _step(self, step: int, steps: int, batch: Tensor, optimiser: torch.optim.Optimizer, group: ProcessGroup) -> float:
        """Learn from one batch; returns its loss."""
        for param_group in optimiser.param_groups:
            param_group["lr"] = param_group["base_rate"] * self.schedule.factor(step, steps)
        optimiser.zero_grad(set_to_none=True)
        seed_random(self.seed, "step", step, group.rank)
        loss = group.sum_gradients(self._backward(group.share(batch), self._weight(batch)), self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        value, norm = torch.stack([loss, norm]).tolist()
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.name}: loss is {value} at step {step}; look for odd values in the feature rows")
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{self.name}: gradient has norm {norm} at step {step} though the loss is {value}; "
                "lower the rates, or look for a division by zero in the loss"
            )
        optimiser.step()
        return value

    def _backward(self, share: Tensor, whole: float) -> Tensor:
        """Gradients of a share of a batch that weighs `whole`; returns the share's part of the batch's loss (scalar)."""
        weight = self._weight(share)
        if weight == 0:  # more processes than rows, in the last batch of an epoch
            return torch.zeros(())
        loss = self.loss(share)
        if weight != whole:
            loss = loss * (weight / whole)
        loss.backward()
        return loss.detach()

    def _optimiser(self) -> torch.optim.Optimizer:
        tables = [p for module in self.model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()]
        known = {id(p) for p in tables}
        rest = [p for p in self.model.parameters() if id(p) not in known]
        groups = [
            {"params": rest, "weight_decay": self.schedule.weight_decay, "base_rate": self.schedule.rate},
            {"params": tables, "weight_decay": 0.0, "base_rate": self.schedule.table_rate},
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=self.schedule.rate, betas=(0.9, 0.99), fused=True)
