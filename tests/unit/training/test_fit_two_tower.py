"""The two towers learn the same from a batch whether one process or several share it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flows.training.fit_two_tower import retrieval_loss
from services.ranking.inputs import TableBits, row_tensors
from services.ranking.normalise import Normaliser
from services.ranking.two_tower import TwoTower, TwoTowerConfig
from tests.said import SAID_AT_THE_END
from tests.synthetic_rows import synthetic_rows
from tests.trained_apart import run_apart

BATCH = torch.arange(40, 100)


@pytest.fixture(scope="module")
def tensors():
    rows = synthetic_rows(400, seed=1)
    return row_tensors(rows, Normaliser.fit(rows.blocks), TableBits())


@pytest.fixture
def learned(tensors):
    """Loss and gradients of a batch in such shares, of rows whose post was engaged with where `liked` says so."""

    def learn(liked: torch.Tensor, *sizes: int) -> tuple[float, dict[str, np.ndarray]]:
        torch.manual_seed(1)
        model = TwoTower(TwoTowerConfig({name: block.shape[1] for name, block in tensors.blocks.items()}))
        torch.nn.init.normal_(model.post.weight, std=0.05)  # or a hidden id would be like a known one
        loss, total = retrieval_loss(model, tensors, liked.float()), 0.0
        for share in BATCH.split(sizes):
            torch.manual_seed(2)  # as every process has it
            part = loss(share, BATCH) * (len(share) / len(BATCH))
            part.backward()
            total += part.item()
        return total, {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}

    return learn


@pytest.mark.parametrize("sizes", [(30, 30), (37, 23), (20, 20, 20), (59, 1)], ids=str)
@pytest.mark.parametrize("every", [2, 7, 25, 45, 1_000], ids=lambda every: f"every {every}th liked")
def test_shares_of_a_batch_weigh_to_its_loss_and_its_gradients(learned, sizes, every):
    """With few positives a share has none, with one or none in the batch nothing is there to tell it from."""
    liked = torch.arange(400) % every == 0
    whole, gradients = learned(liked, len(BATCH))
    shared, found = learned(liked, *sizes)
    assert shared == pytest.approx(whole, rel=1e-5)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-6, rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_two_processes_fit_the_towers_that_one_fits(tmp_path, record_property):
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        done = run_apart("tests.small_towers", str(folder), processes=processes)
        assert done.returncode == 0, done.stderr
        found += [load_file(folder / f"{rank}.safetensors") for rank in range(processes)]
    alone, first, second = found
    apart = {name: float((first[name] - alone[name]).abs().max()) for name in alone}
    said = f"losses differ by {apart.pop('losses'):.1e}, weights by {max(apart.values()):.1e}"
    record_property(SAID_AT_THE_END, f"two processes and one, two towers: {said}")
    for name, weights in alone.items():
        torch.testing.assert_close(first[name], weights, atol=1e-5, rtol=0)
        assert torch.equal(first[name], second[name])
