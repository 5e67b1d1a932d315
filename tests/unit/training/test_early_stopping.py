"""Training that is measured on rows kept out ends where it gains no more, with the best weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flows.training.early_stopping import Validation
from flows.training.epochs import Schedule, Trained, Training
from flows.training.hardware import Hardware
from flows.training.process_group import ProcessGroup
from tests.toy_training import ROWS, SCHEDULE, toy_training, weights

# The first rows are learned by heart, those behind them are never seen: their loss falls and then rises.
LEARNED = 100
SCHEDULE_LONG = replace(SCHEDULE, epochs=30, rate=3e-2, table_rate=1e-1, parts=2)
STEPS = 30 * 7


class Killed(Exception):
    """What a test stops a training with."""


def _by_heart(patience: int | None = 4, schedule: Schedule = SCHEDULE_LONG, batch: int = 64) -> Training:
    training = toy_training(schedule=schedule)
    kept_out = Validation(lambda index: training.loss(index + LEARNED), ROWS - LEARNED, patience, batch)
    return replace(training, rows=LEARNED, validation=kept_out)


def _loss_kept_out(training: Training) -> float:
    with torch.no_grad():
        return float(training.loss(torch.arange(LEARNED, ROWS)))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Training, Trained]:
    training = _by_heart()
    return training, training.train(tmp_path_factory.mktemp("stopped"))


def test_it_stops_after_as_many_measurements_without_gain_as_it_has_patience(stopped):
    _, trained = stopped
    losses = [loss for _, loss in trained.validated]
    lowest = losses.index(min(losses))
    assert len(trained.curve) < STEPS
    assert len(losses) - 1 - lowest == 4
    assert trained.best_step == trained.validated[lowest][0]
    assert [done for done, _ in trained.validated[:4]] == [3, 7, 10, 14]  # both parts of epochs of seven steps


def test_the_model_is_left_with_its_best_weights(stopped):
    training, trained = stopped
    assert _loss_kept_out(training) == pytest.approx(min(loss for _, loss in trained.validated))
    assert not training.model.training


@pytest.mark.slow
def test_without_patience_it_goes_on_to_the_end_and_keeps_the_best_all_the_same(tmp_path, stopped):
    training = _by_heart(patience=None)
    trained = training.train(tmp_path)
    assert len(trained.curve) == STEPS
    losses = [loss for _, loss in trained.validated]
    assert _loss_kept_out(training) == pytest.approx(min(losses))
    assert min(losses) < losses[-1]


@pytest.mark.slow
def test_measuring_does_not_touch_what_is_learned(tmp_path):
    watched = _by_heart(patience=None).train(tmp_path / "watched")
    alone = replace(_by_heart(), validation=None).train(tmp_path / "alone")
    assert watched.curve == alone.curve
    assert (alone.validated, alone.best_step) == ([], None)


@pytest.mark.parametrize("steps", [1, 7, 16, 23])
def test_a_killed_training_remembers_its_best_weights_and_its_patience(tmp_path: Path, stopped, steps):
    unbroken, trained = stopped
    assert steps < len(trained.curve)
    killed = _by_heart()
    calls = []

    def dies(batch: Tensor) -> Tensor:
        calls.append(batch)
        if len(calls) > steps:
            raise Killed
        return killed.loss(batch)

    with pytest.raises(Killed):
        replace(killed, loss=dies).train(tmp_path)
    resumed = _by_heart()
    assert resumed.train(tmp_path) == trained
    assert torch.equal(weights(resumed), weights(unbroken))


def test_a_stopped_training_stays_stopped(tmp_path):
    trained = _by_heart().train(tmp_path)
    again = _by_heart()
    assert replace(again, loss=lambda batch: pytest.fail("it learned on")).train(tmp_path) == trained
    assert _loss_kept_out(again) == pytest.approx(min(loss for _, loss in trained.validated))


def test_progress_ends_at_one_where_training_stops_early(tmp_path):
    told = []
    trained = _by_heart().train(tmp_path, lambda name, share, loss: told.append(share))
    assert told[-1] == 1.0
    assert told[-2] < len(trained.curve) / STEPS


def test_the_loss_is_that_of_all_rows_however_they_are_batched_and_weighed():
    training = _by_heart()
    training.model.eval()
    alone = ProcessGroup()
    whole = _loss_kept_out(training)
    for batch in (1, 33, 1_000):
        found = replace(training.validation, batch=batch).measure(training.model, Hardware(), alone, 1)
        assert found == pytest.approx(whole, rel=1e-5)
    weight = torch.zeros(ROWS - LEARNED)
    weight[:40] = 1.0
    first = replace(training.validation, batch=20, weights=weight).measure(training.model, Hardware(), alone, 1)
    with torch.no_grad():
        assert first == pytest.approx(float(training.loss(torch.arange(LEARNED, LEARNED + 40))), rel=1e-5)


@pytest.mark.parametrize(
    ("losses", "patience", "exhausted"),
    [
        ([], 1, False),
        ([1.0], 1, False),
        ([1.0, 1.0], 1, True),  # an equal loss is no gain
        ([3.0, 2.0, 2.5, 1.0], 2, False),
        ([1.0, 2.0, 2.0], 2, True),
        ([1.0, 2.0, 2.0, 2.0], None, False),
    ],
)
def test_patience(losses, patience, exhausted):
    assert Validation(torch.sum, 1, patience).exhausted(losses) is exhausted


def test_a_validation_loss_that_is_not_finite_is_named(tmp_path):
    training = _by_heart()
    spoilt = replace(training.validation, loss=lambda index: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="toy: validation loss is nan after step 2; look for odd values"):
        replace(training, validation=spoilt).train(tmp_path)


def test_no_rows_to_validate_on_are_refused(tmp_path):
    training = _by_heart()
    with pytest.raises(ValueError, match="toy: there are no rows to validate on"):
        replace(training, validation=replace(training.validation, rows=0)).train(tmp_path)
