"""Feast's SQLite online store with what its rows need and no more: the store that the settings call `sqlite`.

Feast's own makes an index over `entity_key` beside the primary key (entity_key, feature_name), which begins with it and finds
the same rows: a third tree to keep for every row written. Reading and writing are Feast's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from feast import Entity, FeatureView
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.repo_config import RepoConfig

from feature_repo.online_store import share_between_processes

TYPE = "feature_repo.lean_sqlite.LeanSqliteOnlineStore"  # what Feast loads it by

_TABLE = (
    "(entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, vector_value BLOB, event_ts timestamp, "
    "created_ts timestamp, PRIMARY KEY (entity_key, feature_name))"
)


class LeanSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """`path` of the file, absolute."""

    type: Literal["feature_repo.lean_sqlite.LeanSqliteOnlineStore"] = TYPE  # type: ignore[assignment]


class LeanSqliteOnlineStore(SqliteOnlineStore):
    """One file that several processes read and write, a table for each view, two trees a table."""

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        if not self._conn:
            share_between_processes(Path(config.online_store.path))
        return super()._get_conn(config)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make missing tables and drop those of views that are gone; an index that Feast's own store made goes too."""
        connection = self._get_conn(config)
        with connection:
            for view in tables_to_keep:
                name = f"{config.project}_{view.name}"
                connection.execute(f'CREATE TABLE IF NOT EXISTS "{name}" {_TABLE}')
                connection.execute(f'DROP INDEX IF EXISTS "{name}_ek"')
            for view in tables_to_delete:
                connection.execute(f'DROP TABLE IF EXISTS "{config.project}_{view.name}"')
