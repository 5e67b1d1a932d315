"""Feast sources: the Parquet tables that `offline.build_offline` writes, one per feature view."""

from __future__ import annotations

from pathlib import Path

from feast import FileSource

VIEW_NAMES = ("user", "user_history", "post", "author", "topic")
TIMESTAMP = "event_timestamp"


def source_file(features: Path, view: str) -> Path:
    """Where the rows of `view` lie under the features folder."""
    return features / "offline" / f"{view}.parquet"


def sources(features: Path) -> dict[str, FileSource]:
    """One source per view, under the features folder."""
    return {
        view: FileSource(name=f"{view}_rows", path=str(source_file(features, view)), timestamp_field=TIMESTAMP)
        for view in VIEW_NAMES
    }
