"""One choice of device and precision; the same loop on each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flows.training.early_stopping import Validation
from flows.training.epochs import Schedule, Training
from flows.training.fit_light import engaged
from flows.training.fit_two_tower import fit_two_tower, retrieval_loss
from flows.training.hardware import CPU, Hardware, HardwareError
from flows.training.step_draws import Batches, seed_random
from services.ranking.inputs import RowTensors, TableBits, row_tensors
from services.ranking.normalise import Normaliser
from services.ranking.two_tower import TwoTower, TwoTowerConfig
from tests.synthetic_rows import synthetic_rows
from tests.toy_training import ROWS, SCHEDULE, toy_training, weights

pytestmark = pytest.mark.slow  # each test trains

BFLOAT16 = Hardware(CPU, "bfloat16")
LONGER = Schedule(epochs=12, batch=16, rate=1e-2, table_rate=5e-2)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


@pytest.fixture(scope="module")
def rows() -> tuple[RowTensors, np.ndarray]:
    small = synthetic_rows(1_000, seed=1)
    return row_tensors(small, Normaliser.fit(small.blocks), TableBits()), small.labels


def test_without_a_gpu_it_is_the_cpu_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Hardware.chosen() == Hardware.chosen("cpu") == Hardware() == Hardware(CPU, "float32")
    assert Hardware.chosen("cpu", "bfloat16") == BFLOAT16
    with pytest.raises(HardwareError, match="MIXER_TRAIN_DEVICE=cuda, but torch sees no GPU; .* choose auto"):
        Hardware.chosen("cuda")


def test_float32_on_the_cpu_is_plain_adamw_bit_for_bit(tmp_path):
    training = toy_training()
    trained = training.train(tmp_path)
    plain = toy_training()
    model, batches, curve = plain.model.train(), Batches(ROWS, SCHEDULE.batch, 1), []
    rest = [model.rare, *model.out.parameters()]
    groups = [{"params": rest, "weight_decay": SCHEDULE.weight_decay}, {"params": [model.table.weight], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    for step in range(26):
        for group, rate in zip(optimiser.param_groups, (SCHEDULE.rate, SCHEDULE.table_rate), strict=True):
            group["lr"] = rate * SCHEDULE.factor(step, 26)
        seed_random(1, "step", step, 0)
        loss = plain.loss(batches.at(step))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        curve.append(float(loss.detach()))
    assert trained.curve == curve
    assert torch.equal(weights(training), weights(plain))


def test_bfloat16_on_the_cpu_learns_by_the_same_loop(tmp_path):
    seen = []
    exact = toy_training(schedule=LONGER)
    training = replace(toy_training(schedule=LONGER), hardware=BFLOAT16)
    training.model.out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    rounded = training.train(tmp_path / "rounded")
    assert set(seen) == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in training.model.parameters())
    assert np.isfinite(rounded.curve).all()
    assert rounded.losses[-1] < 0.8 * rounded.losses[0]
    plain = exact.train(tmp_path / "plain")
    assert rounded.losses != plain.losses
    assert rounded.losses == pytest.approx(plain.losses, rel=0.1)


def test_what_is_validated_is_computed_in_the_same_precision(tmp_path):
    seen = []
    training = toy_training()

    def loss(index: Tensor) -> Tensor:
        seen.append(training.model(torch.zeros(len(index), 3, dtype=torch.long)).dtype)
        return training.loss(index)

    replace(training, hardware=BFLOAT16, validation=Validation(loss, ROWS)).train(tmp_path)
    assert set(seen) == {torch.bfloat16}


def test_a_checkpoint_of_another_precision_is_not_gone_on_from(tmp_path):
    toy_training().train(tmp_path)
    told = []
    replace(toy_training(), hardware=BFLOAT16).train(tmp_path, lambda *said: told.append(said))
    assert len(told) == 3  # from the start


def test_two_towers_learn_in_bfloat16(tmp_path, rows):
    model, losses = fit_two_tower(*rows, seed=1, fingerprint="rows", checkpoints=tmp_path, hardware=BFLOAT16)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_the_loss_of_the_two_towers_makes_every_tensor_where_its_rows_are(rows):
    tensors, labels = rows
    model = TwoTower(TwoTowerConfig({name: block.shape[1] for name, block in tensors.blocks.items()}))
    loss = retrieval_loss(model, tensors, torch.from_numpy(engaged(labels)))
    batch = torch.arange(64)
    with torch.device("meta"):  # whatever is made without a place would be made there, and meet the rows in vain
        assert torch.zeros(1).is_meta
        assert torch.isfinite(loss(batch, batch))


def test_everything_that_holds_tensors_is_placed():
    @dataclass(frozen=True)
    class Holder:
        inner: dict[str, Tensor]
        name: str

    placed = Hardware(torch.device("meta")).place(Holder({"a": torch.ones(2)}, "kept"))
    assert placed.inner["a"].is_meta
    assert placed.name == "kept"


@needs_gpu
def test_a_gpu_learns_in_bfloat16_and_hands_the_model_back(tmp_path):
    hardware = Hardware.chosen()
    assert hardware == Hardware(torch.device("cuda", 0), "bfloat16")
    training = replace(_on(hardware, LONGER), hardware=hardware)
    trained = training.train(tmp_path)
    assert np.isfinite(trained.curve).all()
    assert trained.losses[-1] < 0.8 * trained.losses[0]
    assert {parameter.device.type for parameter in training.model.parameters()} == {"cpu"}
    again = replace(_on(hardware, LONGER), hardware=hardware)
    assert again.train(tmp_path) == trained  # moments and weights come back from the checkpoint


@needs_gpu
def test_two_towers_learn_on_a_gpu(tmp_path, rows):
    model, losses = fit_two_tower(*rows, seed=1, fingerprint="rows", checkpoints=tmp_path, hardware=Hardware.chosen())
    assert losses[-1] < losses[0]
    assert next(model.parameters()).device.type == "cpu"


def _on(hardware: Hardware, schedule: Schedule) -> Training:
    """The toy training with the rows of its loss on that device."""
    training = toy_training(schedule=schedule)
    ids = hardware.place(torch.randint(0, 40, (ROWS, 3), generator=torch.Generator().manual_seed(0)))
    target = (ids.sum(1) % 2).float()
    loss = lambda batch: nn.functional.binary_cross_entropy_with_logits(training.model(ids[batch]), target[batch])  # noqa: E731
    return replace(training, loss=loss)
