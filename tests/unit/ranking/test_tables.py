"""Rows taken out of an embedding table."""

import pytest
import torch
from torch import nn

from services.ranking.tables import Table, taken


class _Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.post, self.topic = Table(1_000, 8, 0.5), Table(50, 8, 0.5)

    def loss(self, *ids: torch.Tensor) -> torch.Tensor:
        """Reads both tables once for each of `ids`, some rows many times."""
        read = [(self.post(one) * self.topic(one % 50) * weight).sum() for weight, one in enumerate(ids, start=1)]
        return torch.stack(read).tanh().sum()


def test_values_and_gradients_are_those_of_the_whole_table():
    ids = [torch.randint(0, 1_000, shape, dtype=torch.int32) for shape in ((300,), (4, 100), (1,))]
    whole, part = _Two(), _Two()
    expected = whole.loss(*ids)
    expected.backward()
    with taken(part, {"post": ids, "topic": [one % 50 for one in ids]}):
        found = part.loss(*ids)
    found.backward()
    assert torch.equal(found, expected)
    for name in ("post", "topic"):
        assert torch.equal(getattr(part, name).weight.grad, getattr(whole, name).weight.grad)
        assert getattr(part, name).weight.grad.abs().sum() > 0


def test_other_rows_cannot_be_read_until_it_is_over():
    table = Table(100, 4, 1.0)
    with table.taken(torch.tensor([3, 5])), pytest.raises(IndexError):
        table(torch.tensor([3, 4]))
    assert torch.equal(table(torch.tensor([4])), table.weight[4:5])


def test_a_table_is_whole_again_after_a_failure():
    table = Table(100, 4, 1.0)
    with pytest.raises(RuntimeError, match="of the step"), table.taken(torch.tensor([3])):
        raise RuntimeError("of the step")
    assert torch.equal(table(torch.tensor([4])), table.weight[4:5])
