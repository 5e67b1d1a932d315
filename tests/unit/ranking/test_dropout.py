"""Dropout by bytes."""

import numpy as np
import pytest
import torch
from scipy.stats import binom

from services.ranking.dropout import ByteDropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_that_share_is_dropped_and_the_mean_stays(share):
    torch.manual_seed(1)
    dropout, n = ByteDropout(share), 100_003
    found = dropout(torch.ones(n))
    dropped, exact = int((found == 0).sum()), round(share * 256) / 256
    assert binom.cdf(dropped, n, exact) > 1e-6 and binom.sf(dropped, n, exact) > 1e-6
    kept = found[found != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - exact)))


def test_neighbours_are_dropped_independently():
    torch.manual_seed(2)
    dropped = (ByteDropout(0.25)(torch.ones(80_000)) == 0).numpy()
    # All eight bytes of a word, at every distance up to two words: correlations of 80,000 draws are within 5 sigma of 0.
    correlation = [np.corrcoef(dropped[:-lag], dropped[lag:])[0, 1] for lag in range(1, 17)]
    assert np.abs(correlation).max() < 5 / 80_000**0.5


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (7, 2, 9), (0, 4)])
def test_gradients_pass_where_values_did(shape):
    torch.manual_seed(3)
    x = torch.ones(shape, requires_grad=True)
    found = ByteDropout(0.3)(x)
    assert found.shape == x.shape
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())


def test_a_seed_gives_the_same_mask_again_and_the_next_call_another():
    dropout, masks = ByteDropout(0.5), []
    for _ in range(2):
        torch.manual_seed(4)
        masks.append([dropout(torch.ones(64)) for _ in range(2)])
    assert torch.equal(masks[0][0], masks[1][0]) and torch.equal(masks[0][1], masks[1][1])
    assert not torch.equal(masks[0][0], masks[0][1])


def test_nothing_is_dropped_when_not_training_or_asked_for_no_share():
    x = torch.randn(5, 4)
    assert ByteDropout(0.5).eval()(x) is x
    assert ByteDropout(0.0)(x) is x


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"dropout is {share}"):
        ByteDropout(share)
