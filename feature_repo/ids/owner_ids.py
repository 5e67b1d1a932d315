"""Rows as their owner would recognise them: with the ids that they came with."""

from __future__ import annotations

import polars as pl

from feature_repo.ids.id_table import IdTable

KIND_OF = {"user_id": "user", "post_id": "post", "in_reply_to": "post", "author_id": "author", "target_id": "author"}


def with_owner_ids(rows: pl.DataFrame, ids: IdTable) -> pl.DataFrame:
    """`rows` of a contract table with their ids as text; a number that the table does not know stays as it is."""
    texts = {
        column: pl.coalesce(ids.texts(kind, rows[column]), rows[column].cast(pl.String)).alias(column)
        for column, kind in KIND_OF.items()
        if column in rows.columns
    }
    return rows.with_columns(**texts)
