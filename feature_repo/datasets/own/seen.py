"""Posts and users as the events show them: when each was first seen, and who wrote a post."""

from __future__ import annotations

import polars as pl

_TIME = pl.Datetime("us", "UTC")
_MERGED_AT = 1 << 20  # keys in pieces; merging each batch at once would cost a pass over all keys per batch


class Seen:
    """Collects batch by batch; memory grows with posts and users, not with events."""

    def __init__(self) -> None:
        self._posts: list[pl.DataFrame] = [pl.DataFrame(schema={"post_id": pl.Int64, "author_id": pl.Int64, "first": _TIME})]
        self._users: list[pl.DataFrame] = [pl.DataFrame(schema={"user_id": pl.Int64, "first": _TIME})]
        self._waiting = 0  # keys that are not merged yet

    def add(self, events: pl.DataFrame) -> None:
        """Look at mapped events."""
        if events.is_empty():
            return
        if events["occurred_at"].is_sorted():  # then the first of each is the earliest: half the time of a group
            chosen = events.select("user_id", "post_id", "author_id", first="occurred_at")
            self._add(
                chosen.filter(pl.col("post_id").is_first_distinct()).select("post_id", "author_id", "first"),
                chosen.filter(pl.col("user_id").is_first_distinct()).select("user_id", "first"),
            )
            return
        first = pl.col("occurred_at").min().alias("first")
        author = pl.col("author_id").get(pl.col("occurred_at").arg_min())  # of the earliest row, as where rows are sorted
        self._add(events.group_by("post_id").agg(author, first), events.group_by("user_id").agg(first))

    def _add(self, posts: pl.DataFrame, users: pl.DataFrame) -> None:
        self._posts.append(posts)
        self._users.append(users)
        self._waiting += posts.height + users.height
        # As many as were merged before, so that all merging together costs a few passes over the keys.
        if self._waiting > max(_MERGED_AT, self._posts[0].height + self._users[0].height):
            self._posts, self._users, self._waiting = [self.posts()], [self.users()], 0

    def posts(self) -> pl.DataFrame:
        """post_id, author_id, first: sorted by post."""
        joined = pl.concat(self._posts)
        return joined.sort("first", "author_id").group_by("post_id", maintain_order=True).first().sort("post_id")

    def users(self) -> pl.DataFrame:
        """user_id, first: sorted by user."""
        return pl.concat(self._users).group_by("user_id").agg(pl.col("first").min()).sort("user_id")
