"""What the products are put together from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.mixer.components import SideEffect
from services.mixer.query_hydrators.user_features import UserFeatureReader
from services.mixer.ranking_contexts import RankingContexts
from services.mixer.social_graph import RecentRelations, SocialGraph

if TYPE_CHECKING:
    from services.ranking.bundle import ModelBundle


@dataclass(frozen=True)
class Parts:
    """Models and stores that components hold on to; posts come with each query, since their version changes."""

    bundle: ModelBundle
    user_features: UserFeatureReader
    graph: Callable[[], SocialGraph]
    recent_relations: RecentRelations
    contexts: RankingContexts
    side_effects: tuple[SideEffect, ...] = ()  # of a page
    score_side_effects: tuple[SideEffect, ...] = ()  # of scores of given posts
