"""Dropout that draws a byte a number: torch draws a whole number for each, one at a time on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 256
_DRAWN = torch.int64  # the widest that `random_` fills


class ByteDropout(nn.Module):
    """`nn.Dropout` with `share` rounded to a 256th; on other devices than the CPU it is that.

    A training step of the heavy ranker spends a tenth of its time on the masks of `nn.Dropout`, and a hundredth on these.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout is {share}: a share of 0 to below 1 is needed")
        self.dropped = min(round(share * LEVELS), LEVELS - 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x`, of any shape; in training, with that share of its values at 0 and the others scaled up by as much."""
        if not self.training or not self.dropped:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.dropped / LEVELS)
        words = torch.empty(-(-x.numel() // _DRAWN.itemsize), dtype=_DRAWN).random_(torch.iinfo(_DRAWN).min, None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - self.dropped))

    def extra_repr(self) -> str:
        return f"share={self.dropped / LEVELS}"
