"""Posts that only live events named, as rows of the lake: by the author that their first event claimed, created with it."""

from __future__ import annotations

import polars as pl

from feature_repo.contracts import POSTS
from feature_repo.ids.post_authors import PostAuthors
from feature_repo.lake import Lake

# Before the names of datasets: where a dataset has got the post meanwhile, readers take the last part that holds it.
PART = "0-live"
MEDIA = "unknown"  # nothing is said of what the post holds

_SCHEMA = pl.from_arrow(POSTS.empty_table()).schema


def write_live_posts(lake: Lake, database_url: str) -> int:
    """Write the part of posts that no other part of `lake` holds and an event named; returns its rows.

    Repeat it after an ingestion: a post that the dataset holds by then leaves this part.
    """
    claimed = PostAuthors(database_url).all()
    target = lake.root / "posts" / f"{PART}.parquet"
    if claimed.is_empty() and not target.exists():
        return 0
    others = [pl.read_parquet(file, columns=["post_id"]) for file in target.parent.glob("*.parquet") if file != target]
    fresh = claimed.join(pl.concat(others), "post_id", how="anti") if others else claimed
    columns = {
        **{name: pl.lit(None, kind) for name, kind in _SCHEMA.items()},
        "post_id": pl.col("post_id"),
        "author_id": pl.col("author_id"),
        "created_at": pl.from_epoch("first_us", time_unit="us").dt.replace_time_zone("UTC"),
        "topics": pl.lit([], pl.List(pl.Int32)),
        "media": pl.lit(MEDIA),
    }
    posts = fresh.select(column.alias(name) for name, column in columns.items())
    if target.exists() and pl.read_parquet(target).equals(posts):
        return posts.height  # a file that is written anew is read anew by every server
    return lake.write("posts", posts, PART)
