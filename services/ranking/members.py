"""Several heavy rankers as one: members of one config, trained from different draws, whose mean is the answer.

Networks that begin elsewhere and see their rows in another order err differently; their mean errs less than each of them
(Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep ensembles").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from services.ranking.compiled import CompiledRanker, PackedContext, Projected, Request
from services.ranking.heavy import HeavyConfig
from services.ranking.inputs import RowTensors
from services.ranking.presets import Ranker, RankerConfig, build


class Members(nn.Module):
    """The mean of its members' outputs."""

    def __init__(self, members: Sequence[Ranker]) -> None:
        super().__init__()
        if not members:
            raise ValueError("a heavy ranker has at least one member")
        self.members = nn.ModuleList(members)

    @property
    def config(self) -> RankerConfig:
        return self.members[0].config

    def forward(self, rows: RowTensors) -> Tensor:
        """(n, OUTPUTS)."""
        return _mean([member(rows) for member in self.members])


Heavy = Ranker | Members


def as_one(members: Sequence[Ranker]) -> Heavy:
    """A single ranker stays itself."""
    return members[0] if len(members) == 1 else Members(members)


def built(config: RankerConfig, count: int) -> Heavy:
    """A heavy ranker of `count` members, its weights drawn."""
    return as_one([build(config) for _ in range(count)])


def members_of(heavy: Heavy) -> tuple[Ranker, ...]:
    return tuple(heavy.members) if isinstance(heavy, Members) else (heavy,)


class CompiledMembers:
    """A heavy ranker on the compiled kernel, one CompiledRanker a member; see there."""

    def __init__(self, heavy: Heavy, *, threads: int) -> None:
        """Raises NotCompilable, KernelMissing."""
        self.rankers = tuple(CompiledRanker(member, threads=threads) for member in members_of(heavy))

    @property
    def config(self) -> HeavyConfig:
        return self._first.model.config

    @property
    def _first(self) -> CompiledRanker:
        return self.rankers[0]

    def project(self, blocks: Mapping[str, Tensor], post: Tensor, author: Tensor, topic: Tensor) -> tuple[Projected, ...]:
        """What candidates look up of n posts, by member."""
        return tuple(ranker.project(blocks, post, author, topic) for ranker in self.rankers)

    def request(self, first: RowTensors) -> tuple[Request, ...]:
        """What all candidates of a request share, by member, from its first row."""
        encoded = zip(self.rankers, self._contexts(first), strict=True)
        return tuple(ranker.request(context, first.blocks, first.product) for ranker, context in encoded)

    def matches(self, blocks: Mapping[str, Tensor]) -> np.ndarray:
        """As `CompiledRanker.matches`: what every member reads of a user and a candidate."""
        return self._first.matches(blocks)

    def logits(
        self, request: Sequence[Request], posts: Sequence[Projected], matches: np.ndarray, row: np.ndarray | None = None
    ) -> np.ndarray:
        """float32 (n, OUTPUTS), as `CompiledRanker.logits`."""
        asked = zip(self.rankers, request, posts, strict=True)
        return _mean([ranker.logits(shared, projected, matches, row) for ranker, shared, projected in asked])

    def score(self, rows: RowTensors) -> np.ndarray:
        """float32 (n, OUTPUTS) of one request's rows, with context and posts computed here and now."""
        encoded = zip(self.rankers, self._contexts(rows), strict=True)
        return _mean([ranker.score(rows, context) for ranker, context in encoded])

    def _contexts(self, rows: RowTensors) -> list[PackedContext]:
        """The context that rows of one history share, by member."""
        return [ranker.context(rows.blocks["user"][:1], rows.history) for ranker in self.rankers]


def _mean(answers: list):
    """Of tensors or arrays; a single one stays as it is, bit for bit."""
    total = answers[0]
    for one in answers[1:]:
        total = total + one
    return total if len(answers) == 1 else total / len(answers)
