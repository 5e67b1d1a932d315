"""The heavy ranker of 2023 as a preset for comparison: parallel masks over all features, then a small tower an action.

A mask block looks at all features to decide how much of each it lets through (Wang, She and Zhang, "MaskNet", 2021, in the
parallel form that twitter/the-algorithm-ml published in April 2023, at sizes for some hundred thousand rows). It has no
history: what a user did before reaches it through the aggregates alone.

Shapes: N candidates, F features with embeddings, D width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.feature_rows import MODEL_BLOCKS
from services.ranking.inputs import OUTPUTS, PRODUCT_ROWS, RowTensors, TableBits


@dataclass(frozen=True)
class MaskNetConfig:
    """Sizes of the ranker; stored beside its weights."""

    widths: dict[str, int]  # block -> columns
    bits: TableBits = field(default_factory=TableBits)
    d: int = 16  # width of an embedding
    blocks: int = 4
    aggregation: int = 128  # width in which a mask is made
    out: int = 64  # width of a block's answer
    hidden: int = 128
    tower: int = 32
    dropout: float = 0.1

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(content: dict) -> MaskNetConfig:
        return MaskNetConfig(**{**content, "bits": TableBits(**content["bits"])})


class MaskBlock(nn.Module):
    """Features times a mask made of them, through one layer."""

    def __init__(self, width: int, aggregation: int, out: int) -> None:
        super().__init__()
        self.mask = nn.Sequential(nn.Linear(width, aggregation), nn.ReLU(), nn.Linear(aggregation, width))
        self.layer = nn.Linear(width, out)
        self.norm = nn.LayerNorm(out)
        nn.init.zeros_(self.mask[2].weight)  # begins as a plain layer: every feature let through whole
        nn.init.ones_(self.mask[2].bias)

    def forward(self, x_NF: Tensor) -> Tensor:
        return F.relu(self.norm(self.layer(x_NF * self.mask(x_NF))))


class Towers(nn.Module):
    """A hidden layer and a logit of its own for every action."""

    def __init__(self, width: int, tower: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, OUTPUTS * tower)
        self.weight = nn.Parameter(torch.randn(OUTPUTS, tower) * tower**-0.5)
        self.bias = nn.Parameter(torch.zeros(OUTPUTS))

    def forward(self, x_ND: Tensor) -> Tensor:
        by_head = F.relu(self.up(x_ND)).view(len(x_ND), OUTPUTS, -1)
        return (by_head * self.weight).sum(-1) + self.bias


class MaskNet(nn.Module):
    """Logits per action for candidates, each from its own features alone."""

    def __init__(self, config: MaskNetConfig) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(name for name in MODEL_BLOCKS if config.widths.get(name, 0) > 0)
        rows = {"post": 1 << config.bits.post, "author": 1 << config.bits.author, "topic": 1 << config.bits.topic}
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(size, config.d) for name, size in {**rows, "product": PRODUCT_ROWS}.items()}
        )
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.02)
        width = sum(config.widths[name] for name in self.names) + len(self.tables) * config.d
        self.norm_embedding = nn.LayerNorm(config.d)
        self.blocks = nn.ModuleList(MaskBlock(width, config.aggregation, config.out) for _ in range(config.blocks))
        self.hidden = nn.Linear(config.blocks * config.out, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.output = Towers(config.hidden, config.tower)

    def forward(self, rows: RowTensors) -> Tensor:
        """Outputs (N, OUTPUTS)."""
        embedded = [self.norm_embedding(table(getattr(rows, name))) for name, table in self.tables.items()]
        x_NF = torch.cat([*(rows.blocks[name] for name in self.names), *embedded], dim=1)
        answers = torch.cat([block(x_NF) for block in self.blocks], dim=1)
        return self.output(self.dropout(F.relu(self.hidden(self.dropout(answers)))))
