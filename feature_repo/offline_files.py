"""Where the offline rows of the views lie."""

from __future__ import annotations

from pathlib import Path

from feature_repo.view_schemas import RANKING_VIEWS

VIEW_NAMES = tuple(RANKING_VIEWS)  # views whose rows `offline.write_offline_rows` builds
TIMESTAMP = "event_timestamp"
COMPRESSION = "lz4"  # of the files: read twice as fast as zstd, a third larger


def source_file(features: Path, view: str) -> Path:
    """Where the rows of `view` lie under the features folder."""
    return features / "offline" / f"{view}.parquet"
