"""The sampled softmax, against cases counted by hand and against the full softmax."""

import math

import pytest
import torch

from flows.training.sampled_softmax import PostDraws, sampled_softmax


def test_expected_count_is_the_mixture_of_popularity_and_uniform_draws():
    post = torch.tensor([5, 5, 5, 9])
    draws = PostDraws.over(post, torch.tensor([1.0, 1.0, 0.0, 1.0]))  # post 5 makes 2 of the 3 positives; 2 posts in all
    found = draws.log_expected(torch.tensor([0, 3]), in_batch=6, uniform=4).exp()
    assert found.tolist() == pytest.approx([6 * 2 / 3 + 4 / 2, 6 * 1 / 3 + 4 / 2])


def test_loss_equals_the_one_counted_by_hand_and_leaves_out_hits_of_the_positive():
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.5], [0.0, 1.5, 1.0, 2.0]])
    post, positive = torch.tensor([1, 2, 1, 3]), torch.tensor([1, 2])  # column 2 shows post 1, the positive of row 0
    expected = torch.tensor([2.0, 1.0, 2.0, 0.5])
    first = math.log(math.exp(1.0) + math.exp(2.0) / 1.0 + math.exp(0.5) / 0.5) - 1.0
    second = math.log(math.exp(0.0) / 2.0 + math.exp(1.5) + math.exp(1.0) / 2.0 + math.exp(2.0) / 0.5) - 1.5
    assert float(sampled_softmax(logits, post, positive, expected.log())) == pytest.approx((first + second) / 2, rel=1e-6)


def test_estimate_tends_to_the_full_softmax_and_without_correction_does_not():
    generator = torch.Generator().manual_seed(3)
    posts, in_batch, uniform = 50, 20_000, 20_000
    scores = torch.randn(posts, generator=generator)
    popularity = torch.softmax(2 * torch.randn(posts, generator=generator), 0)
    popular = torch.multinomial(popularity, in_batch, replacement=True, generator=generator)
    drawn = torch.cat([popular, torch.randint(posts, (uniform,), generator=generator)])
    log_expected = (in_batch * popularity + uniform / posts).log()
    for positive in (0, 17):
        column = torch.cat([torch.tensor([positive]), drawn])
        args = scores[column][None], column, torch.tensor([positive])
        full = float(scores.logsumexp(0) - scores[positive])
        assert float(sampled_softmax(*args, log_expected[column])) == pytest.approx(full, abs=0.02)
        flat = torch.full((len(column),), math.log((in_batch + uniform) / posts))
        assert abs(float(sampled_softmax(*args, flat)) - full) > 0.05


def test_draws_are_uniform_over_posts_however_often_a_post_is_shown():
    post = torch.tensor([1] * 97 + [2, 3, 4])
    draws = PostDraws.over(post, torch.ones(100))
    torch.manual_seed(1)
    shown = torch.bincount(post[draws.rows(40_000)])[1:] / 40_000
    assert shown.tolist() == pytest.approx([0.25] * 4, abs=0.02)
