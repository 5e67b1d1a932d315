"""Two-tower retrieval: a user vector and post vectors whose dot product says what to fetch.

The user tower reads the user block and the history; it has no user id, so a user of one minute's standing has a vector too.
Shapes: B users, N posts, T history entries, D width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.feature_rows import HEADS
from services.ranking.inputs import HistoryTensors, TableBits, action_flags
from services.ranking.tables import Table

POST_BLOCKS = ("post", "author", "topic")  # what is known of a post without knowing who asks
TABLE_DEVIATION = 0.05  # of embeddings before any training


@dataclass(frozen=True)
class TwoTowerConfig:
    """Sizes of the towers; stored beside the weights."""

    widths: dict[str, int]
    bits: TableBits = field(default_factory=TableBits)
    d: int = 48
    hidden: int = 128

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(content: dict) -> TwoTowerConfig:
        return TwoTowerConfig(**{**content, "bits": TableBits(**content["bits"])})


class TwoTower(nn.Module):
    """User and post vectors; a post's carries its bias in the last coordinate, where the user's is 1."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d
        post_width = sum(config.widths.get(name, 0) for name in POST_BLOCKS)
        self.post = Table(1 << config.bits.post, d, TABLE_DEVIATION)
        nn.init.zeros_(self.post.weight)  # a post that training never meets adds nothing of its own
        self.author = Table(1 << config.bits.author, d, TABLE_DEVIATION)
        self.topic = Table(1 << config.bits.topic, d, TABLE_DEVIATION)
        self.actions = nn.Linear(len(HEADS), 1)  # how much an exposure says about taste, by what was done
        self.user_net = nn.Sequential(
            nn.Linear(config.widths["user"] + d, config.hidden), nn.GELU(), nn.Linear(config.hidden, d)
        )
        self.post_net = nn.Sequential(nn.Linear(post_width, config.hidden), nn.GELU(), nn.Linear(config.hidden, d + 1))

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return self.config.d + 1

    def item(self, post: Tensor, author: Tensor, topic: Tensor) -> Tensor:
        return self.post(post) + self.author(author) + self.topic(topic)

    def users(self, user_BW: Tensor, history: HistoryTensors) -> Tensor:
        """User vectors (B, D + 1)."""
        say_BT = self.actions(action_flags(history.actions)).squeeze(-1)
        present = ~history.padding
        weight = torch.where(present, F.softplus(say_BT), 0.0)
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1.0)
        taste = torch.einsum("bt,btd->bd", weight, self.item(history.post, history.author, history.topic))
        vector = taste + self.user_net(torch.cat([user_BW, taste], dim=1))
        return torch.cat([vector, vector.new_ones(len(vector), 1)], dim=1)

    def posts(
        self, blocks: dict[str, Tensor], post: Tensor, author: Tensor, topic: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Post vectors (N, D + 1). Where `known` (N,) is false, the post's own id adds nothing, as for one never trained on."""
        dense = self.post_net(torch.cat([blocks[name] for name in POST_BLOCKS], dim=1))
        identity = self.post(post) if known is None else self.post(post) * known[:, None]
        item = identity + self.author(author) + self.topic(topic)
        return torch.cat([item + dense[:, :-1], dense[:, -1:]], dim=1)
