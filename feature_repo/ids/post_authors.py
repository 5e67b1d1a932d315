"""The author of each post that came by events before any file named it: the first that an event claimed, kept for good."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl
from sqlalchemy import Connection, Engine, insert, select, text

from feature_repo.ids.tables import POST_AUTHORS
from feature_repo.ids.value_lists import is_sqlite, value_list
from infra.database import create_tables, open_engine, read_transaction, write_transaction

_COLUMNS = {"post_id": pl.Int64, "author_id": pl.Int64, "first_us": pl.Int64}


@dataclass(frozen=True)
class Claim:
    """What the first event of a post says: the author's number, and its moment in UTC microseconds."""

    author: int
    first_us: int


class PostAuthors:
    """Claims of one platform database, by the post's number. Safe to use from several threads and processes."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def of(self, posts: Collection[int]) -> dict[int, int]:
        """The author of each of `posts` that has a claim."""
        if not posts:
            return {}
        with read_transaction(self._engine) as connection:
            return _stored(connection, posts)

    def claim(self, claims: Mapping[int, Claim]) -> dict[int, int]:
        """The author of each post after `claims` were made: a post that had an author keeps it."""
        if not claims:
            return {}
        with write_transaction(self._engine) as connection:
            if not is_sqlite(connection):
                # Two transactions that claim one post would meet at its key; the second waits and reads instead.
                connection.execute(text(f"LOCK TABLE {POST_AUTHORS.name} IN SHARE ROW EXCLUSIVE MODE"))
            stored = _stored(connection, claims)
            fresh = {post: claim for post, claim in claims.items() if post not in stored}
            rows = [{"post": post, "author": claim.author, "first_us": claim.first_us} for post, claim in fresh.items()]
            if rows:
                connection.execute(insert(POST_AUTHORS), rows)
        return stored | {post: claim.author for post, claim in fresh.items()}

    def all(self) -> pl.DataFrame:
        """Every claim by post: post_id, author_id and first_us, all Int64."""
        query = select(POST_AUTHORS.c.post, POST_AUTHORS.c.author, POST_AUTHORS.c.first_us).order_by(POST_AUTHORS.c.post)
        with read_transaction(self._engine) as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(rows, _COLUMNS, orient="row")

    @cached_property
    def _engine(self) -> Engine:
        engine = open_engine(self._url)
        create_tables(engine, POST_AUTHORS.name)
        return engine


def _stored(connection: Connection, posts: Collection[int]) -> dict[int, int]:
    rows, given = value_list(connection, list(posts), "number")
    query = select(POST_AUTHORS.c.post, POST_AUTHORS.c.author).where(POST_AUTHORS.c.post.in_(select(rows.c.value)))
    return {post: author for post, author in connection.execute(query, given)}
