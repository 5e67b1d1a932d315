from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flows.training.checkpoints import NEWEST, CheckpointError
from flows.training.epochs import Schedule, Trained, Training
from flows.training.step_draws import Batches
from tests.toy_training import ROWS, SCHEDULE, toy_training, weights

pytestmark = pytest.mark.slow  # each test trains

STEPS = 26


class Killed(Exception):
    """What a test stops a training with."""


def _kill_at_call(training: Training, call: int) -> Training:
    """The same training; its loss fails when it is asked for the `call`-th time, 0-based."""
    calls = []

    def loss(batch: torch.Tensor) -> torch.Tensor:
        calls.append(batch)
        if len(calls) > call:
            raise Killed
        return training.loss(batch)

    return replace(training, loss=loss)


def test_same_seed_same_weights_and_another_seed_others(tmp_path):
    one, again, other = toy_training(), toy_training(), toy_training(seed=2)
    for index, training in enumerate((one, again, other)):
        training.train(tmp_path / str(index))
    assert torch.equal(weights(one), weights(again))
    assert (weights(one) - weights(other)).abs().max() > 1e-3


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Training, Trained]:
    training = toy_training()
    return training, training.train(tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize("step", range(STEPS))
def test_a_training_killed_at_any_step_resumes_to_the_very_same_weights_and_losses(tmp_path, unbroken, step):
    whole, trained = unbroken
    assert len(trained.curve) == STEPS
    with pytest.raises(Killed):
        _kill_at_call(toy_training(), step).train(tmp_path / "killed")
    resumed = toy_training()
    counted = _kill_at_call(resumed, STEPS - step // SCHEDULE.checkpoint_every * SCHEDULE.checkpoint_every)
    assert counted.train(tmp_path / "killed") == trained  # and no step before the checkpoint is done again
    assert torch.equal(weights(resumed), weights(whole))


def test_how_often_checkpoints_are_written_changes_nothing_else(tmp_path):
    often, never = (replace(SCHEDULE, checkpoint_every=steps) for steps in (1, 1_000))
    unbroken = toy_training(schedule=never).train(tmp_path / "unbroken")
    with pytest.raises(Killed):
        _kill_at_call(toy_training(schedule=often), 3).train(tmp_path / "killed")
    resumed = _kill_at_call(toy_training(schedule=never), STEPS - 3)  # each of the three steps was kept
    assert resumed.train(tmp_path / "killed") == unbroken


def test_a_checkpoint_of_other_rows_or_settings_is_not_used(tmp_path):
    toy_training(fingerprint="old rows").train(tmp_path)
    fresh = toy_training()
    fresh.train(tmp_path / "fresh")
    for_new_rows = toy_training()
    for_new_rows.train(tmp_path)
    assert torch.equal(weights(for_new_rows), weights(fresh))


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    toy_training().train(tmp_path)
    file = tmp_path / "toy" / NEWEST
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=f"{NEWEST} is damaged .* delete it to train from the start"):
        toy_training().train(tmp_path)


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path):
    toy_training().train(tmp_path)
    wider = toy_training()
    wider.model.out = nn.Linear(24, 2)
    with pytest.raises(CheckpointError, match="of another model"):
        wider.train(tmp_path)


def test_a_finished_training_is_not_done_again(tmp_path):
    first, again = toy_training(), toy_training()
    trained = first.train(tmp_path)
    assert _kill_at_call(again, 0).train(tmp_path) == trained
    assert torch.equal(weights(again), weights(first))


def test_loss_goes_down_and_is_reported_per_epoch(tmp_path):
    trained = toy_training(schedule=Schedule(epochs=12, batch=16, rate=1e-2, table_rate=5e-2)).train(tmp_path)
    assert len(trained.losses) == 12
    assert trained.losses[-1] < 0.8 * trained.losses[0]
    sizes = [16] * 12 + [8]
    assert trained.losses[0] == pytest.approx(np.average(trained.curve[:13], weights=sizes))


def test_progress_is_told_every_ten_steps_and_at_the_end(tmp_path):
    seen = []
    trained = toy_training().train(tmp_path, lambda *told: seen.append(told))
    assert seen == [("toy", done / STEPS, trained.curve[done - 1]) for done in (10, 20, STEPS)]


def test_rows_a_second_are_those_of_this_run(tmp_path):
    with pytest.raises(Killed):
        _kill_at_call(toy_training(), 21).train(tmp_path)
    rest = toy_training().train(tmp_path)
    assert rest.rows_per_second * rest.seconds["learning"] == pytest.approx(5 * 16 + 8)  # steps 20 to 25, the last of 8 rows
    assert rest.seconds["checkpoints"] > 0 == rest.seconds["validating"]
    assert toy_training().train(tmp_path).rows_per_second == 0.0  # nothing was left to do
    weighted = toy_training(weighted=True)
    trained = weighted.train(tmp_path / "weighted")
    assert trained.rows_per_second * trained.seconds["learning"] == pytest.approx(2 * float(weighted.weights.sum()))


def test_every_epoch_meets_every_row_once_in_an_order_of_its_own():
    batches = Batches(ROWS, 16, seed=3)
    epochs = [torch.cat([batches.at(epoch * 13 + index) for index in range(13)]).tolist() for epoch in range(2)]
    assert batches.per_epoch == 13
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(ROWS))
    assert epochs[0] != epochs[1]


def test_a_loss_that_is_not_finite_stops_the_training_by_name(tmp_path):
    training = toy_training()
    with torch.no_grad():
        training.model.out.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="toy: loss is nan at step 0; look for odd values in the feature rows"):
        training.train(tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_training_before_it_reaches_the_weights(tmp_path):
    training = toy_training()
    before = weights(training).clone()

    def kinked(batch: torch.Tensor) -> torch.Tensor:
        return training.loss(batch) + (training.model.out.bias * 0).sqrt().sum()  # 0, of infinite slope

    with pytest.raises(FloatingPointError, match="toy: gradient has norm nan at step 0 though the loss is .* lower the rates"):
        replace(training, loss=kinked).train(tmp_path)
    assert torch.equal(weights(training), before)


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="toy: there are no rows to learn from"):
        replace(toy_training(), rows=0).train(tmp_path)


def test_schedule_warms_up_then_decays_to_its_floor():
    schedule = Schedule(epochs=1, batch=1, rate=1.0, table_rate=1.0, warm_up=0.1, floor=0.02)
    factors = [schedule.factor(step, 100) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert all(after <= before for before, after in zip(factors[10:], factors[11:], strict=False))
    assert factors[100] == pytest.approx(0.02)
