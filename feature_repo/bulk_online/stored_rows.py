"""Rows of one view, encoded: what a bulk writer puts into its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.bulk_online.entity_keys import entity_keys, stored_order
from feature_repo.bulk_online.stored_values import Column, stored_values
from feature_repo.view_schemas import Kind, ViewSchema


@dataclass(frozen=True)
class StoredFeature:
    """One feature of n rows."""

    name: str
    values: list[bytes]  # serialised `feast.types.Value` messages
    texts: Sequence[str] | None  # the values in words, which Feast's SQL stores keep beside numbers; None for other kinds


@dataclass(frozen=True)
class StoredRows:
    """n rows of one view in the order of their keys. `stamps_us`: event time of each row, int64 (n,) microseconds."""

    view: str
    keys: list[bytes]
    features: list[StoredFeature]
    stamps_us: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


def encode_rows(
    schema: ViewSchema, ids: Sequence[np.ndarray], values: Mapping[str, Column], stamps_us: np.ndarray
) -> StoredRows:
    """Encode rows of the view `schema`; arguments as in `writer.write_rows`."""
    named = [feature.name for feature in schema.features]
    if sorted(values) != sorted(named):
        raise ValueError(f"view {schema.name!r} has the features {named}, but values were given for {sorted(values)}")
    if len(ids) != len(schema.ids):
        raise ValueError(f"view {schema.name!r} has the join keys {list(schema.ids)}, but {len(ids)} id columns were given")
    rows = len(stamps_us)
    lengths = {**dict(zip(schema.ids, map(len, ids), strict=True)), **{name: len(column) for name, column in values.items()}}
    if uneven := {name: length for name, length in lengths.items() if length != rows}:
        raise ValueError(f"view {schema.name!r}: {rows} stamps were given, but columns of other lengths: {uneven}")
    order = stored_order(schema.ids, ids)
    keys = entity_keys(schema.ids, [np.asarray(column)[order] for column in ids])
    places = order.tolist()
    features = []
    for feature in schema.features:
        column = values[feature.name]
        stored = stored_values(feature.kind, column)
        texts = [str(number) for number in np.asarray(column)[order].tolist()] if feature.kind is Kind.INT64 else None
        features.append(StoredFeature(feature.name, [stored[place] for place in places], texts))
    return StoredRows(schema.name, keys, features, np.asarray(stamps_us, np.int64)[order])
