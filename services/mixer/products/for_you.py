"""For You: what the user follows, what resembles what they like, and what is popular, ranked."""

from __future__ import annotations

from services.mixer.candidate_hydrators.post_attributes import PostAttributesHydrator
from services.mixer.candidate_hydrators.ranking_rows import RankingRowsHydrator
from services.mixer.filters.author_cap import AuthorCapFilter
from services.mixer.filters.blocked_authors import BlockedAuthorsFilter
from services.mixer.filters.duplicates import DuplicatesFilter
from services.mixer.filters.known_posts import KnownPostsFilter
from services.mixer.filters.light_cut import LightCutFilter
from services.mixer.filters.muted_authors import MutedAuthorsFilter
from services.mixer.filters.own_posts import OwnPostsFilter
from services.mixer.filters.seen_posts import SeenPostsFilter
from services.mixer.filters.unpublished_posts import UnpublishedPostsFilter
from services.mixer.pipeline import Pipeline
from services.mixer.products.parts import Parts
from services.mixer.query_hydrators.social_graph import SocialGraphHydrator
from services.mixer.query_hydrators.user_features import UserFeaturesHydrator
from services.mixer.scorers.author_diversity import AuthorDiversityScorer
from services.mixer.scorers.heavy import HeavyScorer
from services.mixer.scorers.light import LightScorer
from services.mixer.scorers.weighted import WeightedScorer
from services.mixer.selectors.top_scores import TopScoresSelector
from services.mixer.sources.in_network import InNetworkSource
from services.mixer.sources.popular import PopularSource
from services.mixer.sources.similar_content import SimilarContentSource
from services.mixer.sources.two_tower import TwoTowerSource

NAME = "for_you"


def for_you(parts: Parts) -> Pipeline:
    """The product as a list of components, in the order in which they run."""
    return Pipeline(
        name=NAME,
        query_hydrators=(
            UserFeaturesHydrator(parts.user_features, parts.contexts),
            SocialGraphHydrator(parts.graph, parts.recent_relations),
        ),
        sources=(
            InNetworkSource(),
            TwoTowerSource(parts.bundle),
            SimilarContentSource(),
            PopularSource(),
        ),
        steps=(
            DuplicatesFilter(),
            PostAttributesHydrator(),
            KnownPostsFilter(),
            UnpublishedPostsFilter(),
            OwnPostsFilter(),
            SeenPostsFilter(),
            MutedAuthorsFilter(),
            BlockedAuthorsFilter(),
            RankingRowsHydrator(),
            LightScorer(parts.bundle),
            LightCutFilter(),
            HeavyScorer(parts.bundle),
            WeightedScorer(),
            AuthorDiversityScorer(),
        ),
        selector=TopScoresSelector(),
        late_filters=(AuthorCapFilter(),),
        side_effects=parts.side_effects,
    )
