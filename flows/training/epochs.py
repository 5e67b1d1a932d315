"""The training loop that the networks share: seeded AdamW with warm-up and cosine decay, resumable at any step."""

from __future__ import annotations

import gc
import math
import operator
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from flows.training.checkpoints import Checkpoints, unpacked
from flows.training.early_stopping import Validation
from flows.training.hardware import CPU, Hardware
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
    parts: int = 4  # of an epoch; where there is a validation, it follows each
    checkpoint_every: int = 100  # steps that a kill costs at most; no part of the outcome

    def factor(self, step: int, steps: int) -> float:
        """Multiplier of the rates at `step` of `steps`."""
        warm = max(1, int(self.warm_up * steps))
        if step < warm:
            return (step + 1) / warm
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    def ends_part(self, done: int, per_epoch: int) -> bool:
        """Whether a part of an epoch of `per_epoch` steps ends with `done` steps."""
        within = (done - 1) % per_epoch + 1
        return any(within == per_epoch * part // self.parts for part in range(1, self.parts + 1))


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    losses: list[float]  # mean of every epoch
    curve: list[float]  # loss of every step
    validated: list[tuple[int, float]]  # steps done, and the loss on rows kept out then
    best_step: int | None  # after which that was lowest: the model has its weights of then; None without validation
    rows_per_second: float = field(compare=False)  # that all processes together learned from in this run; 0 = none was left
    seconds: dict[str, float] = field(compare=False)  # of this run: learning, validating, writing checkpoints


@dataclass(frozen=True)
class Training:
    """One network's training: `loss` maps the row indices of a batch to a scalar. `fingerprint` names the data.

    Started by torchrun, the processes share every batch out; losses are those of the whole batch. `weights`, float32 (rows,),
    says how much a row counts in the mean that `loss` returns (a sequence's exposures, say), one each where there are none:
    so that processes with shares of different weight come to what one process would. Where rows of a batch are one another's
    negatives, `whole_batch` gives `loss` the indices of the whole batch beside those of the process's share, whose weight its
    value has then, and lets it draw alike in all processes. With `validation` the training may end
    early, and the model is left with its best weights instead of its last. Model and indices are on `hardware`'s device while
    it learns (`Hardware.place` puts what else a loss reads there), and the model back on the CPU afterwards.
    """

    name: str
    model: nn.Module
    loss: Callable[..., Tensor]
    rows: int
    schedule: Schedule
    seed: int
    fingerprint: str
    weights: Tensor | None = None
    validation: Validation | None = None
    hardware: Hardware = Hardware()
    whole_batch: bool = False

    def train(self, checkpoints: Path, on_progress: OnProgress | None = None) -> Trained:
        """Train to the end, from the newest checkpoint where there is one.

        Killed at any step and called again, it comes to the same weights and the same loss at every step, bit for bit.
        Raises FloatingPointError where a loss or a gradient is not finite, CheckpointError where a checkpoint is damaged.
        """
        self._check()
        group = ProcessGroup.current(self.hardware.device)
        self.model.to(self.hardware.device)
        progress = TrainingProgress(self.model, self._optimiser())
        kept = self._resume(checkpoints, progress, group)
        batches = Batches(self.rows, self.schedule.batch, self.seed)
        steps = batches.per_epoch * self.schedule.epochs
        self.model.train()
        begun, seconds = progress.steps, dict.fromkeys(("learning", "validating", "checkpoints"), 0.0)
        while progress.steps < steps and not self._stopped(progress):
            with _added(seconds, "learning"), _uncollected():
                self._step(progress, steps, batches, group)
            done, last = progress.steps, progress.curve[-1]
            if self.validation is not None and self.schedule.ends_part(done, batches.per_epoch):
                with _added(seconds, "validating"):
                    self._validate(self.validation, progress, group)
            ended = done == steps or self._stopped(progress)
            if group.leads and (done % self.schedule.checkpoint_every == 0 or ended):
                with _added(seconds, "checkpoints"):
                    kept.save(progress.tensors())
            if group.leads and on_progress is not None and (done % TOLD_EVERY == 0 or ended):
                on_progress(self.name, 1.0 if ended else done / steps, last)
        return self._finished(progress, batches, begun, seconds)

    def _finished(self, progress: TrainingProgress, batches: Batches, begun: int, seconds: dict[str, float]) -> Trained:
        """Leave the model on the CPU with its best weights; what this run, which began at step `begun`, came to."""
        self.model.eval()
        if progress.best:
            self.model.load_state_dict(progress.best)
        self.model.to(CPU)
        learned = math.fsum(self._weight(batches.at(step)) for step in range(begun, progress.steps))
        return Trained(
            losses=self._by_epoch(progress.curve, batches),
            curve=progress.curve,
            validated=progress.validated,
            best_step=min(progress.validated, key=operator.itemgetter(1))[0] if progress.validated else None,
            rows_per_second=learned / seconds["learning"] if learned else 0.0,
            seconds=seconds,
        )

    def _check(self) -> None:
        if self.rows < 1 or self._weight(torch.arange(self.rows)) == 0:
            raise ValueError(f"{self.name}: there are no rows to learn from; widen the training days")
        if self.validation is not None and self.validation.rows < 1:
            raise ValueError(f"{self.name}: there are no rows to validate on; keep some out, or train without validation")

    def _stopped(self, progress: TrainingProgress) -> bool:
        return self.validation is not None and self.validation.exhausted([loss for _, loss in progress.validated])

    def _validate(self, validation: Validation, progress: TrainingProgress, group: ProcessGroup) -> None:
        loss = validation.measure(self.model, self.hardware, group, self.seed)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"{self.name}: validation loss is {loss} after step {progress.steps - 1}; "
                "look for odd values in the rows kept out, or lower the rates"
            )
        progress.validate(loss)

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
        unread = {"checkpoint_every"} if self.validation is not None else {"checkpoint_every", "parts"}
        schedule = {name: value for name, value in asdict(self.schedule).items() if name not in unread}
        validation = "" if self.validation is None else f"/{self.validation.identity()}"
        return f"{self.fingerprint}/{self.seed}/{schedule}/{self.hardware.precision}{validation}"

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

    def _step(self, progress: TrainingProgress, steps: int, batches: Batches, group: ProcessGroup) -> None:
        """Learn from the next batch, and remember its loss."""
        step, optimiser = progress.steps, progress.optimiser
        batch = batches.at(step)
        for param_group in optimiser.param_groups:
            param_group["lr"] = param_group["base_rate"] * self.schedule.factor(step, steps)
        optimiser.zero_grad(set_to_none=True)
        seed_random(self.seed, "step", step, 0 if self.whole_batch else group.rank)
        loss = group.sum_gradients(self._backward(group.share(batch), batch), self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        value, norm = torch.stack([loss, norm.to(loss.device)]).tolist()
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.name}: loss is {value} at step {step}; look for odd values in the feature rows")
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{self.name}: gradient has norm {norm} at step {step} though the loss is {value}; "
                "lower the rates, or look for a division by zero in the loss"
            )
        optimiser.step()
        progress.curve.append(value)

    def _backward(self, share: Tensor, batch: Tensor) -> Tensor:
        """Gradients of a share of a batch; returns the share's part of the batch's loss (scalar)."""
        weight, whole = self._weight(share), self._weight(batch)
        if weight == 0:  # more processes than rows, in the last batch of an epoch
            return torch.zeros((), device=self.hardware.device)
        with self.hardware.autocast():
            loss = self.loss(*map(self.hardware.place, (share, batch) if self.whole_batch else (share,))).float()
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


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's collector of cycles, a tenth of a step's time: a step makes many objects, and next to no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _added(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Add the block's time to what `what` has cost so far."""
    start = time.perf_counter()
    yield
    seconds[what] += time.perf_counter() - start
