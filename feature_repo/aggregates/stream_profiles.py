"""Undated facts of users and posts for the stream worker's online rows, read again when the lake gets new ones."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.ranking_state import Key
from feature_repo.aggregates.topics import Topics
from feature_repo.event_log import read_table
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles

_TABLES = {Key.USER: "users", Key.POST: "posts"}


class StreamProfiles:
    """Profiles of the lake's users and posts as of the last look. For one thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.changes = 0  # how often a table was found changed since the first look
        self._parts: dict[Key, tuple] = {}
        self._ids: dict[Key, np.ndarray] = {}
        self._values: dict[Key, dict[str, np.ndarray]] = {}
        self.refresh()
        self.changes = 0

    def refresh(self) -> dict[Key, np.ndarray]:
        """Read tables that were written since the last look; returns the ids whose facts are new or other ones now."""
        changed = {}
        for key, table in _TABLES.items():
            parts = self._lake_parts(table)
            if parts != self._parts.get(key):
                changed[key] = self._reload(key, parts)
        self.changes += bool(changed)
        return changed

    def of(self, key: Key, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The facts of each id (int64 (n,)) by column: `profile`, of posts `created_at` too; those of nobody where unknown."""
        if key not in _TABLES:
            return {}
        rows = rows_of_ids(self._ids[key], ids)
        return {name: column[rows] for name, column in self._values[key].items()}

    def _reload(self, key: Key, parts: tuple) -> np.ndarray:
        before = dict(self._values.get(key, {}))
        known = self._ids.get(key)
        rows = read_table([self._lake], _TABLES[key])
        ids = rows[f"{key.value}_id"].to_numpy()
        if key is Key.USER:
            values = {"profile": np.concatenate([user_profiles(rows), unknown_user_profile()])}
        else:
            self.topics = Topics(rows)
            created_at = np.append(rows["created_at"].dt.epoch("us").to_numpy(), 0)
            values = {"profile": np.concatenate([post_profiles(rows), unknown_post_profile()]), "created_at": created_at}
        self._parts[key], self._ids[key], self._values[key] = parts, ids, values
        if known is None:
            return ids
        places = rows_of_ids(known, ids)
        same = [(before[name][places] == column[:-1]).reshape(len(ids), -1).all(axis=1) for name, column in values.items()]
        return ids[(places == len(known)) | ~np.logical_and.reduce(same)]

    def _lake_parts(self, table: str) -> tuple:
        return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in (self._lake.root / table).glob("*.parquet")))


def rows_of_ids(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Row of each id in the ascending `known`, len(known) where it is absent."""
    place = np.searchsorted(known, ids)
    found = place < len(known)
    found[found] = known[place[found]] == ids[found]
    return np.where(found, place, len(known))
