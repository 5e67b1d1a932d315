"""A deep interest network: what of a user's past speaks for this very candidate, decided by a small network for every pair.

After Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction": an activation unit weighs each past exposure
against the candidate, weights are not made to sum to one (their strength says how much interest there is), and the weighted sum
goes with all other features through a tower. Past exposures carry what the user did with them, since here all are in the
history, liked or not.

Shapes: N candidates, T past exposures, D width of an item, F dense features.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.feature_rows import BLOCKS
from feature_repo.heads import HEADS
from services.ranking.inputs import AGE_ROWS, PRODUCT_ROWS, RowTensors, TableBits, action_flags


@dataclass(frozen=True)
class DinConfig:
    """Sizes of the network."""

    widths: dict[str, int]  # block -> columns
    heads: int
    bits: TableBits = field(default_factory=TableBits)
    d: int = 32
    activation: int = 36  # width of the activation unit, as published
    tower: tuple[int, int] = (192, 80)
    dropout: float = 0.1


class DeepInterestNetwork(nn.Module):
    """Logits (N, heads) of candidates, each with a history of its own."""

    def __init__(self, config: DinConfig) -> None:
        super().__init__()
        d = config.d
        self.names = tuple(name for name in BLOCKS if config.widths.get(name, 0) > 0)
        rows = {"post": 1 << config.bits.post, "author": 1 << config.bits.author, "topic": 1 << config.bits.topic}
        self.items = nn.ModuleDict({name: nn.Embedding(size, d) for name, size in rows.items()})
        self.product, self.age = (nn.Embedding(size, d) for size in (PRODUCT_ROWS, AGE_ROWS))
        self.actions = nn.Linear(len(HEADS), d, bias=False)
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.02)
        self.unit = nn.Sequential(nn.Linear(4 * d, config.activation), nn.PReLU(), nn.Linear(config.activation, 1))
        width = sum(config.widths[name] for name in self.names) + 4 * d
        first, second = config.tower
        self.tower = nn.Sequential(
            nn.Linear(width, first), nn.PReLU(), nn.Dropout(config.dropout), nn.Linear(first, second), nn.PReLU()
        )
        self.output = nn.Linear(second, config.heads)

    def item(self, of: object) -> Tensor:
        """Sum of the embeddings of post, author and topic."""
        return sum(table(getattr(of, name)) for name, table in self.items.items())

    def interest(self, candidate_ND: Tensor, rows: RowTensors) -> Tensor:
        """The past, weighed against each candidate: (N, D)."""
        past = rows.history
        met_NTD = self.item(past) + self.product(past.product) + self.age(past.age) + self.actions(action_flags(past.actions))
        asked = candidate_ND.unsqueeze(1).expand_as(met_NTD)
        pairs = torch.cat([met_NTD, asked, met_NTD - asked, met_NTD * asked], dim=2)
        weight_NT = self.unit(pairs).squeeze(2).masked_fill(past.padding, 0.0)
        return torch.bmm(weight_NT.unsqueeze(1), met_NTD).squeeze(1)

    def forward(self, rows: RowTensors) -> Tensor:
        candidate_ND = self.item(rows)
        interest_ND = self.interest(candidate_ND, rows)
        dense = [rows.blocks[name] for name in self.names]
        features = [*dense, candidate_ND, interest_ND, candidate_ND * interest_ND, self.product(rows.product)]
        return self.output(self.tower(torch.cat(features, dim=1)))


def losses(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross entropy over heads, a scalar; `target` (N, heads), `weight` (heads,)."""
    return (F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0) * weight).sum() / weight.sum()
