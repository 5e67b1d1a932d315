"""Feast feature views. An entity's aggregates are one packed array feature, never a column a feature: Feast pays per value."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView, Field
from feast.types import Array, Float32, Int64

from feature_repo.aggregates.catalogue import Key
from feature_repo.entities import ENTITIES
from feature_repo.history import STORED_COLUMNS
from feature_repo.sources import sources

STATE = [
    Field(name="state", dtype=Array(Float32), description="Packed aggregate state; columns: catalogue.STATE_COLUMNS."),
    Field(name="updated_at", dtype=Int64, description="Time of the newest event in the state, microseconds UTC."),
]

SCHEMAS: dict[str, list[Field]] = {
    "user": [*STATE, Field(name="profile", dtype=Array(Float32), description="profiles.USER_PROFILE")],
    "user_history": [Field(name="exposures", dtype=Array(Int64), description=f"Newest exposures, packed: {STORED_COLUMNS}")],
    "post": [
        *STATE,
        Field(name="profile", dtype=Array(Float32), description="profiles.POST_PROFILE"),
        Field(name="created_at", dtype=Int64, description="Upload time, microseconds UTC."),
    ],
    "author": STATE,
    "topic": STATE,
}

ENTITY_OF = {"user": Key.USER, "user_history": Key.USER, "post": Key.POST, "author": Key.AUTHOR, "topic": Key.TOPIC}


def feature_views(features: Path) -> list[FeatureView]:
    """All views, reading their rows from under the features folder."""
    files = sources(features)
    return [
        FeatureView(name=name, entities=[ENTITIES[ENTITY_OF[name]]], schema=schema, source=files[name], ttl=None, online=True)
        for name, schema in SCHEMAS.items()
    ]
