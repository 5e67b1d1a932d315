"""The predicted actions that answers show: those that the model was trained for, by the names that their owner gave them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.chosen_heads import SHOWN, HeadError, named_heads
from feature_repo.heads import HEAD_OF, HEADS
from feature_repo.ids.own_actions import with_own_names

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownHeads:
    """The heads of a bundle that people and clients see. `places`: where each stands in HEADS; `names`: what it is called."""

    places: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise HeadError where two heads have one name: an answer by name would lose one of them."""
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise HeadError(
                f"two predicted actions are called {twice[0]!r}, one of them this dataset's own: rename that in the mapping, "
                "ingest and train again"
            )

    @staticmethod
    def of(trained: Sequence[str], own_actions: Mapping[str, str], chosen: Sequence[str] = ()) -> ShownHeads:
        """The `trained` heads, or those of them whose names are `chosen` where there is any.

        own_actions: the dataset's own actions by name, each with the head that stands for it. A chosen head that this release
        was not trained for is left out, with a warning. If none is left, all trained heads are shown. Raises HeadError for a
        name that is no head.
        """
        wanted = named_heads(chosen, own_actions, SHOWN)
        if odd := [with_own_names(head, own_actions) for head in wanted if head not in trained]:
            there = ", ".join(with_own_names(head, own_actions) for head in trained)
            logger.warning("%s names %s, which this release was not trained for; there are %s", SHOWN, ", ".join(odd), there)
        shown = [head for head in trained if head in wanted] or list(trained)
        return ShownHeads(
            tuple(HEADS.index(head) for head in shown), tuple(with_own_names(head, own_actions) for head in shown)
        )

    def by_name(self, predictions: np.ndarray) -> list[dict[str, float]]:
        """For each candidate its probabilities by name, from `predictions` (n, len(HEADS))."""
        rounded = np.round(np.asarray(predictions, np.float64)[:, self.places], 6)
        return [dict(zip(self.names, row, strict=True)) for row in rounded.tolist()]

    def largest(self, added: np.ndarray) -> list[int]:
        """Indices of `names`, that first whose part of a score is largest in size; `added` (len(HEADS),) are the parts."""
        return np.argsort(-np.abs(added[list(self.places)]), kind="stable").tolist()

    def promise(self, index: int) -> str:
        """The end of the sentence "Ranked by the chance that you ..." for the head `names[index]`."""
        return HEAD_OF[HEADS[self.places[index]]].promise.format(own=f"do “{self.names[index]}”")
