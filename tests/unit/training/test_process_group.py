"""Two processes that torchrun starts learn what one does from the same global batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flows.training.process_group import ProcessGroup
from tests.said import SAID_AT_THE_END
from tests.toy_training import ToySpecification, weights
from tests.trained_apart import outcome, train_apart

# The rows of a batch: halves, parts of 8 and 7, a last batch of one row (the other process has none), rows of unlike weight.
CASES = [
    ToySpecification("even", batch=20, dropout=0.0),
    ToySpecification("uneven", batch=15, dropout=0.0),
    ToySpecification("empty share", batch=199, dropout=0.0),
    ToySpecification("weighted", batch=15, dropout=0.0, weighted=True),
]
STOPPED = ToySpecification("stopped early", batch=15, dropout=0.0, patience=2)
WITH_DROPOUT = ToySpecification("dropout", dropout=0.3)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """The folder of outcomes of all cases, trained by two processes."""
    folder = tmp_path_factory.mktemp("together")
    done = train_apart(folder, *CASES, STOPPED, WITH_DROPOUT, processes=2, started=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_learn_what_one_learns(together, tmp_path, record_property, case):
    alone = case.training()
    trained = alone.train(tmp_path)
    found = outcome(together, case.name)
    apart = (
        np.abs(np.array(found["curve"]) - trained.curve).max(),
        np.abs(np.array(found["weights"]) - weights(alone).numpy()).max(),
    )
    record_property(
        SAID_AT_THE_END,
        f"two processes and one, {case.name} batches: losses differ by {apart[0]:.1e}, weights by {apart[1]:.1e}",
    )
    assert len(found["curve"]) == len(trained.curve)
    assert max(apart) < 1e-5
    np.testing.assert_allclose(found["losses"], trained.losses, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, STOPPED, WITH_DROPOUT], ids=lambda case: case.name)
def test_both_processes_hold_the_same_weights_and_losses_and_one_of_them_tells(together, case):
    first, second = outcome(together, case.name), outcome(together, f"{case.name}-1")
    assert {**first, "told": 0} == {**second, "told": 0}
    assert first["told"] > second["told"] == 0


@pytest.mark.slow
def test_two_processes_stop_where_one_does(together, tmp_path):
    alone = STOPPED.training()
    trained = alone.train(tmp_path)
    found = outcome(together, STOPPED.name)
    assert len(found["curve"]) == len(trained.curve) < 100  # of ten epochs of ten steps
    assert found["best_step"] == trained.best_step
    np.testing.assert_allclose(found["validated"], trained.validated, atol=1e-5)
    np.testing.assert_allclose(found["weights"], weights(alone).numpy(), atol=1e-5)


def test_shares_are_every_row_once_and_differ_by_one_row_at_most():
    batch = torch.arange(10, 21)
    for size in (1, 2, 3, 16):
        shares = [ProcessGroup(rank, size).share(batch) for rank in range(size)]
        assert torch.equal(torch.cat(shares), batch)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_that_nobody_started_together_with_others_is_alone():
    assert ProcessGroup.current() == ProcessGroup(rank=0, size=1)
