"""Following: the newest posts of followed accounts, unranked."""

from __future__ import annotations

from services.mixer.candidate_hydrators.post_attributes import PostAttributesHydrator
from services.mixer.filters.blocked_authors import BlockedAuthorsFilter
from services.mixer.filters.duplicates import DuplicatesFilter
from services.mixer.filters.known_posts import KnownPostsFilter
from services.mixer.filters.muted_authors import MutedAuthorsFilter
from services.mixer.filters.own_posts import OwnPostsFilter
from services.mixer.filters.seen_posts import SeenPostsFilter
from services.mixer.filters.unpublished_posts import UnpublishedPostsFilter
from services.mixer.pipeline import Pipeline
from services.mixer.products.parts import Parts
from services.mixer.query_hydrators.social_graph import SocialGraphHydrator
from services.mixer.scorers.recency import RecencyScorer
from services.mixer.selectors.top_scores import TopScoresSelector
from services.mixer.sources.in_network import InNetworkSource

NAME = "following"


def following(parts: Parts) -> Pipeline:
    """The product as a list of components. It reads no model and no feature store, so it is also the fallback."""
    return Pipeline(
        name=NAME,
        query_hydrators=(SocialGraphHydrator(parts.graph, parts.recent_relations),),
        sources=(InNetworkSource(),),
        steps=(
            DuplicatesFilter(),
            PostAttributesHydrator(),
            KnownPostsFilter(),
            UnpublishedPostsFilter(),
            OwnPostsFilter(),
            SeenPostsFilter(),
            MutedAuthorsFilter(),
            BlockedAuthorsFilter(),
            RecencyScorer(),
        ),
        selector=TopScoresSelector(),
        side_effects=parts.side_effects,
    )
