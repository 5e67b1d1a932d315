import numpy as np
import pytest
import torch
from torch import nn

from flows.training.epochs import Schedule, Training

SCHEDULE = Schedule(epochs=2, batch=16, rate=1e-2, table_rate=2e-2, parts=3)


class Killed(Exception):
    """What a test stops a training with."""


def _training(seed: int = 1, fingerprint: str = "rows", schedule: Schedule = SCHEDULE) -> Training:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(40, 8), nn.Flatten(), nn.Dropout(0.3), nn.Linear(24, 1))
    ids = torch.randint(0, 40, (200, 3), generator=torch.Generator().manual_seed(0))
    target = (ids.sum(1) % 2).float()

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(model(ids[batch]).squeeze(1), target[batch])

    return Training("toy", model, loss, 200, schedule, seed, fingerprint)


def _weights(training: Training) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in training.model.parameters()]).numpy()


def _kill_after(share: float):
    def on_progress(name: str, done: float, loss: float) -> None:
        if done >= share:
            raise Killed

    return on_progress


def test_same_seed_same_weights_and_another_seed_others(tmp_path):
    one, again, other = _training(), _training(), _training(seed=2)
    for index, training in enumerate((one, again, other)):
        training.run(tmp_path / str(index))
    np.testing.assert_array_equal(_weights(one), _weights(again))
    assert np.abs(_weights(one) - _weights(other)).max() > 1e-3


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.95])
def test_a_killed_training_resumes_to_the_very_same_weights_and_losses(tmp_path, share):
    unbroken = _training()
    losses = unbroken.run(tmp_path / "unbroken")
    with pytest.raises(Killed):
        _training().run(tmp_path / "killed", _kill_after(share))
    resumed, seen = _training(), []
    assert resumed.run(tmp_path / "killed", lambda name, done, loss: seen.append(done)) == losses
    np.testing.assert_array_equal(_weights(resumed), _weights(unbroken))
    if share > 0.2:  # at least one part was kept, so not all of it is done again
        assert min(seen) > 1 / 6


def test_a_checkpoint_of_other_rows_or_settings_is_not_used(tmp_path):
    _training(fingerprint="old rows").run(tmp_path)
    fresh = _training()
    fresh.run(tmp_path / "fresh")
    for_new_rows = _training()
    for_new_rows.run(tmp_path)
    np.testing.assert_array_equal(_weights(for_new_rows), _weights(fresh))


def test_a_finished_training_is_not_done_again(tmp_path):
    first = _training()
    losses = first.run(tmp_path)
    again = _training()
    assert again.run(tmp_path, _kill_after(0.0)) == losses
    np.testing.assert_array_equal(_weights(again), _weights(first))


def test_loss_goes_down_and_is_reported_per_epoch(tmp_path):
    losses = _training(schedule=Schedule(epochs=12, batch=16, rate=1e-2, table_rate=5e-2)).run(tmp_path)
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_training_by_name(tmp_path):
    training = _training()
    with torch.no_grad():
        training.model[3].bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="toy: loss is nan at step 0"):
        training.run(tmp_path)


def test_schedule_warms_up_then_decays_to_its_floor():
    schedule = Schedule(epochs=1, batch=1, rate=1.0, table_rate=1.0, warm_up=0.1, floor=0.02)
    factors = [schedule.factor(step, 100) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert all(after <= before for before, after in zip(factors[10:], factors[11:], strict=False))
    assert factors[100] == pytest.approx(0.02)
