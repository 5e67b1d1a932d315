"""What the lake knows of a few posts, for their cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_repo.ids import IdTable
from infra.settings import Settings


def post_facts(settings: Settings, post_ids: Sequence[str | int]) -> dict[str | int, dict[str, Any]]:
    """Post id, as answers show it -> media, topics, seconds, language and text where known. Reads only the rows asked for.

    Topics go by their names, as `topic 5` where the dataset has none.
    """
    import polars as pl

    files = sorted((settings.paths.lake / "posts").glob("*.parquet"))
    if not files or not post_ids:
        return {}
    table = IdTable(settings.platform_database_url)
    numbers = table.known("post", pl.Series([str(post) for post in post_ids]))
    shown = {number: post for number, post in zip(numbers, post_ids, strict=True) if number is not None}
    columns = ["post_id", "media", "topics", "duration_ms", "language", "text"]
    # Parts of different ages may differ in optional columns, none of which is shown.
    posts = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore")
    rows = posts.select(columns).filter(pl.col("post_id").is_in(list(shown))).collect()
    codes = rows["topics"].explode().drop_nulls().unique()
    names = dict(zip(codes, table.names("topic", codes), strict=True))

    def named(topics: list[int] | None) -> list[str]:
        return [names[code] or f"topic {code}" for code in topics or ()]

    return {shown[row["post_id"]]: {**row, "topics": named(row["topics"])} for row in rows.iter_rows(named=True)}
