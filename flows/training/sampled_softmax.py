"""Softmax over a whole catalogue, estimated from the posts of a batch and from posts drawn uniformly.

Shapes: B positives (each is the others' negative), U uniform draws, D width.
Sources: Yi et al. 2019 (in-batch log-Q), Yang et al. 2020 (mixed negative sampling), Khrylchenko et al. 2025 (the positive is
given, not drawn: it takes no correction, and with that the estimate tends to the full softmax).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class PostDraws:
    """Uniform draws over the distinct posts of the training rows, each with one of the rows that show it.

    order: int64 (n,), rows sorted by post; starts, sizes: int64 (posts,), each post's part of `order`;
    post_of_row: int64 (n,); share: float32 (posts,), share of the positive rows that show the post.
    """

    order: Tensor
    starts: Tensor
    sizes: Tensor
    post_of_row: Tensor
    share: Tensor

    @staticmethod
    def over(post: Tensor, positive: Tensor) -> PostDraws:
        """Draws over `post` (n,), of whose rows those where `positive` (n,) is above zero make the batches' positives."""
        _, of_row, sizes = torch.unique(post, return_inverse=True, return_counts=True)
        shown = torch.bincount(of_row, weights=(positive > 0).double(), minlength=len(sizes))
        share = (shown / shown.sum().clamp_min(1.0)).float()
        return PostDraws(of_row.argsort(stable=True), sizes.cumsum(0) - sizes, sizes, of_row, share)

    @property
    def posts(self) -> int:
        return len(self.sizes)

    def rows(self, draws: int) -> Tensor:
        """Rows, int64 (draws,), of posts drawn uniformly with replacement by torch's seeded generator."""
        chosen = torch.randint(self.posts, (draws,), device=self.sizes.device)
        within = (torch.rand(draws, device=self.sizes.device) * self.sizes[chosen]).long()
        return self.order[self.starts[chosen] + torch.minimum(within, self.sizes[chosen] - 1)]

    def log_expected(self, rows: Tensor, in_batch: int, uniform: int) -> Tensor:
        """log of how often a row's post is expected among `in_batch` others of a batch and `uniform` draws, (len(rows),).

        It is the log of the mixture's sampling probability, plus the log of the number of draws.
        """
        return (in_batch * self.share[self.post_of_row[rows]] + uniform / self.posts).log()


def sampled_softmax(logits: Tensor, post: Tensor, positive: Tensor, log_expected: Tensor) -> Tensor:
    """Mean cross-entropy of each row's positive against all posts, estimated from a sample of them.

    logits (B, B + U): column b < B is row b's own positive; post (B + U,) and positive (B,): what the columns and the rows
    show; log_expected (B + U,): see `PostDraws.log_expected`. A column that shows the row's own positive is left out.
    """
    own = torch.eye(len(positive), len(post), dtype=torch.bool, device=post.device)
    hit = (positive[:, None] == post[None, :]) & ~own
    corrected = torch.where(own, logits, logits - log_expected)
    return F.cross_entropy(corrected.masked_fill(hit, float("-inf")), torch.arange(len(positive), device=post.device))
