"""Posts and users as the events show them: when each was first seen, and who wrote a post."""

from __future__ import annotations

import polars as pl

_TIME = pl.Datetime("us", "UTC")
_MERGED_AT = 16  # pieces; merging each batch at once would cost a pass over all keys per batch


class Seen:
    """Collects batch by batch; memory grows with posts and users, not with events."""

    def __init__(self) -> None:
        self._posts: list[pl.DataFrame] = [pl.DataFrame(schema={"post_id": pl.Int64, "author_id": pl.Int64, "first": _TIME})]
        self._users: list[pl.DataFrame] = [pl.DataFrame(schema={"user_id": pl.Int64, "first": _TIME})]

    def add(self, events: pl.DataFrame) -> None:
        """Look at mapped events."""
        if events.is_empty():
            return
        first = pl.col("occurred_at").min().alias("first")
        self._posts.append(events.group_by("post_id").agg(pl.col("author_id").first(), first))
        self._users.append(events.group_by("user_id").agg(first))
        if len(self._posts) > _MERGED_AT:
            self._posts, self._users = [self.posts()], [self.users()]

    def posts(self) -> pl.DataFrame:
        """post_id, author_id, first: sorted by post."""
        joined = pl.concat(self._posts)
        return joined.sort("first", "author_id").group_by("post_id", maintain_order=True).first().sort("post_id")

    def users(self) -> pl.DataFrame:
        """user_id, first: sorted by user."""
        return pl.concat(self._users).group_by("user_id").agg(pl.col("first").min()).sort("user_id")
