"""What the lake knows of a few posts, for their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def post_facts(lake: Path, post_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Post id -> media, topics, seconds, language and text where known. Reads only the rows asked for."""
    import polars as pl

    files = sorted((lake / "posts").glob("*.parquet"))
    if not files or not post_ids:
        return {}
    columns = ["post_id", "media", "topics", "duration_ms", "language", "text"]
    rows = pl.scan_parquet(files).select(columns).filter(pl.col("post_id").is_in(list(post_ids))).collect()
    return {row["post_id"]: row for row in rows.iter_rows(named=True)}
