"""Feast entities: one per kind of key that features are kept for."""

from __future__ import annotations

from feast import Entity, ValueType

from feature_repo.aggregates.catalogue import Key

ENTITIES = {
    key: Entity(name=key.value, join_keys=[key.column], value_type=ValueType.INT64, description=f"One {key.value}, by its id.")
    for key in Key
}
