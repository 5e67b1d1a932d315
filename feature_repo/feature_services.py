"""Feast feature services: the named sets of views that a model is trained on and served with."""

from __future__ import annotations

from collections.abc import Sequence

from feast import FeatureService, FeatureView

from feature_repo.service_names import AGGREGATES, RANKING, REQUEST
from feature_repo.view_schemas import AGGREGATE_VIEWS, RANKING_VIEWS


def feature_services(views: Sequence[FeatureView]) -> list[FeatureService]:
    """`ranking_v1`: all that a ranker reads. `request_v1`: what is read online for the one user of a request.
    `aggregates_v1`: the cells of every aggregate family, from which `mixer features list` names the features."""
    by_name = {view.name: view for view in views}
    return [
        FeatureService(
            name=RANKING,
            features=[by_name[name] for name in RANKING_VIEWS],
            description="Aggregates, profiles and history of the rankers.",
        ),
        FeatureService(
            name=REQUEST,
            features=[by_name["user"], by_name["user_history"]],
            description="The one user of a request; candidates come from the snapshot.",
        ),
        FeatureService(
            name=AGGREGATES,
            # The views share their feature names, so a reader asks for full feature names.
            features=[by_name[name] for name in AGGREGATE_VIEWS],
            description="Packed cells of every aggregate family: all measures, windows and statistics of the catalogue.",
        ),
    ]
