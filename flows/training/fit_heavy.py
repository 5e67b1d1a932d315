"""Fit the heavy ranker: one weighted cross entropy over all heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.heads import HEADS, LEAST_TRAINED, judged_heads, places, trained_heads
from flows.training.early_stopping import Validation
from flows.training.epochs import OnProgress, Schedule, Trained, Training
from flows.training.hardware import Hardware
from flows.training.negative_sampling import SampledNegatives
from flows.training.next_exposure import NEXT_WEIGHT, NextExposure, next_loss
from flows.training.sequence_pass import sequence_outputs
from flows.training.user_sequences import UserSequences
from services.ranking.encoded_rows import EncodedRows
from services.ranking.heavy import HeavyRanker
from services.ranking.inputs import DWELL
from services.ranking.presets import DEFAULT, Ranker, RankerConfig, build, ranker_config

# Two epochs: in the third, tables of ids overfit (Zhang et al. 2022, "one-epoch phenomenon").
SCHEDULE = Schedule(epochs=2, batch=256, rate=1e-3, table_rate=4e-3)
BATCH_BY_ROWS = 128  # of a ranker that has no sequences
LEAST_STEPS = 400  # an epoch of few rows takes smaller batches rather than too few steps
LEAST_BATCH = 16
GROUPS_OF_BATCH = 2  # sequences of like length are learned from together; a batch is of two such groups

# The common actions teach the shared layers, and the rarer ones must not drown in them: of the JUDGED most common heads those
# behind the first COMMON weigh more in the loss than any other.
COMMON, JUDGED = 2, 4
RARER_WEIGHT = 2.0

DWELL_WEIGHT = 0.05  # beside the actions' weights, whose sum is 1


def head_weights(labels: np.ndarray, least: int = LEAST_TRAINED) -> np.ndarray:
    """Weight of each head in the loss, float32 (len(HEADS),), summing to 1; 0 for a head that these labels do not teach.

    A head is taught by `least` rows of either outcome.
    """
    weight = np.zeros(len(HEADS), np.float32)
    weight[places(trained_heads(labels, least))] = 1.0
    weight[places(judged_heads(labels, JUDGED, least=least)[COMMON:])] = RARER_WEIGHT
    return weight / max(weight.sum(), 1.0)


def schedule_for(rows: int, preset: str = DEFAULT, epochs: int = SCHEDULE.epochs) -> Schedule:
    """The schedule for that many training rows."""
    most = SCHEDULE.batch if preset == DEFAULT else BATCH_BY_ROWS
    return replace(SCHEDULE, epochs=epochs, batch=max(LEAST_BATCH, min(most, rows // LEAST_STEPS)))


def fit_heavy(
    rows: EncodedRows,
    labels: np.ndarray,
    *,
    dwell_s: np.ndarray | None = None,
    least: int = LEAST_TRAINED,
    seed: int,
    fingerprint: str,
    checkpoints: Path,
    config: RankerConfig | None = None,
    schedule: Schedule | None = None,
    negatives: SampledNegatives | None = None,
    kept_out: KeptOut | None = None,
    hardware: Hardware | None = None,
    on_progress: OnProgress | None = None,
    name: str = "heavy",
) -> tuple[Ranker, Trained]:
    """Train on rows with a history each and `labels` (n, len(HEADS)) in [0, 1]; returns the ranker and what training came to.

    `dwell_s`, float32 (n,): seconds that each row's post was watched or read; without it the dwell head learns nothing.
    `least`: rows of either outcome that a head needs to be learned.

    The schedule's batch is in rows. With `negatives`, those rows are trained on, each for the heads that use it, and the
    output's bias is set right for all rows afterwards: the ranker's probabilities are those of all rows. With `kept_out`,
    training ends when it gains nothing more on those rows, and the ranker has the weights that did best there. `name` is that
    of its checkpoints and progress.
    """
    hardware = hardware or Hardware()
    if negatives is not None:
        rows, labels = rows.select(torch.from_numpy(negatives.rows)), labels[negatives.rows]
        dwell_s = None if dwell_s is None else dwell_s[negatives.rows]
    torch.manual_seed(seed)
    config = config or ranker_config(DEFAULT, {name: block.shape[1] for name, block in rows.blocks.items()}, rows.bits)
    model = build(config)
    used = np.ones(labels.shape, bool) if negatives is None else negatives.used
    _start_at_base_rates(model, labels, used, dwell_s)
    schedule = schedule or schedule_for(len(rows))
    by_row = _RowLoss(labels, used, dwell_s, hardware, least)
    named = {"seed": seed, "fingerprint": f"{fingerprint}/{config}", "hardware": hardware}
    if kept_out is not None:
        named["validation"] = kept_out.validation(model, hardware, negatives)
    if isinstance(model, HeavyRanker):
        training = _by_sequences(name, model, rows, by_row, schedule, named)
    else:
        training = Training(name, model, _by_rows(model, rows, by_row, hardware), len(rows), schedule, **named)
    trained = training.train(checkpoints, on_progress)
    if negatives is not None:
        with torch.no_grad():
            model.output.bias[:DWELL].add_(negatives.logit_shift)
    return model, trained


class _RowLoss:
    """Mean over rows of the heads' weighted cross entropy; a head that does not use a row learns nothing from it.

    Dwell joins with Huber's loss of its log1p, on all rows.
    """

    def __init__(
        self,
        labels: np.ndarray,
        used: np.ndarray,
        dwell_s: np.ndarray | None,
        hardware: Hardware,
        least: int = LEAST_TRAINED,
    ) -> None:
        self.log_dwell = None
        if dwell_s is not None:
            self.log_dwell = hardware.place(torch.from_numpy(np.log1p(dwell_s, dtype=np.float32)))
        self.target = hardware.place(torch.from_numpy(labels.astype(np.float32)))
        self.counted = hardware.place(torch.from_numpy(used.astype(np.float32)))
        self.weight = hardware.place(torch.from_numpy(head_weights(labels, least)))

    def __call__(self, outputs: Tensor, row: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(outputs[:, :DWELL], self.target[row], reduction="none")
        loss = ((losses * self.counted[row]).mean(0) * self.weight).sum()
        if self.log_dwell is None:
            return loss
        return loss + DWELL_WEIGHT * F.huber_loss(outputs[:, DWELL], self.log_dwell[row])


@dataclass(frozen=True)
class KeptOut:
    """Rows that no weight learns from, by which a training is ended."""

    rows: EncodedRows
    labels: np.ndarray  # (n, len(HEADS))
    patience: int  # measurements in a row without a gain, four an epoch

    def validation(self, model: Ranker, hardware: Hardware, negatives: SampledNegatives | None) -> Validation:
        shift = 0.0 if negatives is None else negatives.logit_shift
        by_row = _RowLoss(self.labels, np.ones(self.labels.shape, bool), None, hardware)
        loss = _by_rows(model, self.rows, lambda outputs, row: by_row(outputs + shift, row), hardware)
        return Validation(loss, len(self.rows), self.patience)


def _by_rows(
    model: Ranker, rows: EncodedRows, by_row: Callable[[Tensor, Tensor], Tensor], hardware: Hardware
) -> Callable[[Tensor], Tensor]:
    """The loss of a batch of row indices, each row with the history of its own."""
    return lambda batch: by_row(model(hardware.place(rows.rows(batch.cpu()))), batch)


class _WithNext(nn.Module):
    """The ranker and what learns beside it, so that one optimiser and one checkpoint hold both."""

    def __init__(self, ranker: HeavyRanker) -> None:
        super().__init__()
        self.ranker = ranker
        self.next = NextExposure(ranker.config.d)


def _by_sequences(
    name: str, model: HeavyRanker, rows: EncodedRows, by_row: _RowLoss, schedule: Schedule, named: dict[str, Any]
) -> Training:
    """A training whose items are groups of sequences of like length, so that little of a batch is padding."""
    sequences = UserSequences.of(rows.source, rows.chosen, rows.bits)
    groups = _groups(sequences, max(1, schedule.batch // GROUPS_OF_BATCH))
    weights = torch.tensor([float((sequences.row_start[g + 1] - sequences.row_start[g]).sum()) for g in groups])
    both = _WithNext(model)
    hardware: Hardware = named["hardware"]

    def loss(items: Tensor) -> Tensor:
        share = weights[items.cpu()] / weights[items.cpu()].sum()
        batches = [sequences.batch(groups[item]) for item in items.tolist()]
        row = torch.cat([batch.row for batch in batches])
        asked = hardware.place(rows.candidates(row))
        found = sequence_outputs(model, both.next, [hardware.place(batch) for batch in batches], asked)
        of_next = next_loss(found.answers, found.questions, hardware.place(share))
        return by_row(found.rows, hardware.place(row)) + NEXT_WEIGHT * of_next

    return Training(name, both, loss, len(groups), replace(schedule, batch=GROUPS_OF_BATCH), weights=weights, **named)


def _groups(sequences: UserSequences, rows_of_group: int) -> list[np.ndarray]:
    """Sequences of like length in groups of about `rows_of_group` rows, each an int64 array of sequences."""
    size = np.diff(sequences.row_start)
    order = np.lexsort((np.diff(sequences.token_start), size))
    group = (np.cumsum(size[order]) - 1) // rows_of_group
    return np.split(order, np.flatnonzero(np.diff(group)) + 1)


def _start_at_base_rates(model: Ranker, labels: np.ndarray, used: np.ndarray, dwell_s: np.ndarray | None) -> None:
    """Set the output bias to each action's log-odds and the mean log dwell: no step is spent on learning those."""
    rate = np.clip((labels * used).sum(axis=0) / np.maximum(used.sum(axis=0), 1), 1e-5, 1 - 1e-5)
    with torch.no_grad():
        model.output.bias[:DWELL] = torch.from_numpy(np.log(rate / (1 - rate)).astype(np.float32))
        model.output.bias[DWELL] = 0.0 if dwell_s is None else float(np.log1p(dwell_s).mean())
