"""Feast entities: one per kind of id that keys are made of."""

from __future__ import annotations

from feast import Entity, ValueType

from feature_repo.aggregates.families import ID_COLUMNS

# By id column, which is the join key; the entity's name is the thing itself.
ENTITIES = {
    column: Entity(
        name=column.removesuffix("_id"),
        join_keys=[column],
        value_type=ValueType.INT64,
        description=f"One {column.removesuffix('_id')}, by its id.",
    )
    for column in ID_COLUMNS
}
