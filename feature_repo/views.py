"""Feast feature views. An entity's aggregates are one packed feature, never a column a feature: Feast pays per value."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView, Field
from feast.types import Array, Bytes, Float32, Int64

from feature_repo.entities import ENTITIES
from feature_repo.sources import batch_source, push_source
from feature_repo.view_schemas import VIEW_SCHEMAS, Kind, ViewSchema

_DTYPES = {Kind.BYTES: Bytes, Kind.INT64: Int64, Kind.FLOATS: Array(Float32), Kind.INTS: Array(Int64)}


def feature_views(features: Path) -> list[FeatureView]:
    """All views, reading their rows from under the features folder."""
    return [_feature_view(features, schema) for schema in VIEW_SCHEMAS.values()]


def _feature_view(features: Path, schema: ViewSchema) -> FeatureView:
    source = push_source(features, schema) if schema.pushed else batch_source(features, schema)
    fields = [Field(name=feature.name, dtype=_DTYPES[feature.kind], description=feature.words) for feature in schema.features]
    return FeatureView(
        name=schema.name,
        entities=[ENTITIES[column] for column in schema.ids],
        schema=fields,
        source=source,
        ttl=None,
        online=True,
    )
