"""Scores of given posts for a user: the ranking half of For You, with nothing fetched and nothing removed but the unknown."""

from __future__ import annotations

from services.mixer.candidate_hydrators.post_attributes import PostAttributesHydrator
from services.mixer.candidate_hydrators.ranking_rows import RankingRowsHydrator
from services.mixer.filters.known_posts import KnownPostsFilter
from services.mixer.pipeline import Pipeline
from services.mixer.products.parts import Parts
from services.mixer.query_hydrators.user_features import UserFeaturesHydrator
from services.mixer.scorers.heavy import HeavyScorer
from services.mixer.scorers.weighted import WeightedScorer
from services.mixer.selectors.top_scores import TopScoresSelector
from services.mixer.sources.given_posts import GivenPostsSource

NAME = "score"


def given_posts(parts: Parts) -> Pipeline:
    """The product as a list of components. What was scored is logged as a page is: its owner shows it elsewhere."""
    return Pipeline(
        name=NAME,
        query_hydrators=(UserFeaturesHydrator(parts.user_features, parts.contexts),),
        sources=(GivenPostsSource(),),
        steps=(
            PostAttributesHydrator(),
            KnownPostsFilter(),
            RankingRowsHydrator(),
            HeavyScorer(parts.bundle),
            WeightedScorer(),
        ),
        selector=TopScoresSelector(),
        side_effects=parts.score_side_effects,
    )
