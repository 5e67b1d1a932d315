"""One request as the pipeline sees it: who asks, for what, when, and against which version of the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.served_messages import Split
from services.mixer.knobs import USUAL, Knobs
from services.ranking.weights import DEFAULT_PRESET, WeightPreset, preset_named

if TYPE_CHECKING:
    from services.mixer.corpus import Corpus


class MissingFeature(KeyError):
    """A component read a query feature whose hydrator failed or is not part of the product."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Query:
    """A request. `corpus` is taken once, so a snapshot swap in the middle of a request changes nothing for it.

    product: the pipeline ("for_you"); surface: the product name that ranking sees (a replayed log's own name);
    now_us: the moment of use, UTC microseconds; seen_ids: int64, posts that the client says were seen.
    """

    request_id: str
    user_id: int
    product: str
    surface: str
    count: int
    now_us: int
    corpus: Corpus
    seen_ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    preset: WeightPreset = field(default_factory=lambda: preset_named(DEFAULT_PRESET))
    features: Mapping[str, Any] = field(default_factory=dict)
    is_copy: bool = False  # of a request that another release answered: nobody sees this answer
    split: Split | None = None  # what the door said of the request; None for one that came past it
    knobs: Knobs = USUAL  # what the user's experiments turn
    experiments: Mapping[str, str] = field(default_factory=dict)  # the user's arm by experiment

    def __getitem__(self, name: str) -> Any:
        """Query feature `name`; raises MissingFeature naming it and what there is."""
        try:
            return self.features[name]
        except KeyError:
            raise MissingFeature(f"query feature {name!r} was not hydrated; present: {sorted(self.features)}") from None

    def with_features(self, features: Mapping[str, Any]) -> Query:
        return replace(self, features={**self.features, **features})
