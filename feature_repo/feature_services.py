"""Feast feature services: the named sets of features that a model is trained on and served with."""

from __future__ import annotations

from collections.abc import Sequence

from feast import FeatureService, FeatureView

from feature_repo.service_names import RANKING, REQUEST


def feature_services(views: Sequence[FeatureView]) -> list[FeatureService]:
    """`ranking_v1`: all that a ranker reads. `request_v1`: what is read online for the one user of a request."""
    by_name = {view.name: view for view in views}
    return [
        FeatureService(name=RANKING, features=list(views), description="Aggregates, profiles and history of the rankers."),
        FeatureService(
            name=REQUEST,
            features=[by_name["user"], by_name["user_history"]],
            description="The one user of a request; candidates come from the snapshot.",
        ),
    ]
