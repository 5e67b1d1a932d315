"""Posts and users where the files lack them: derived from what the events show."""

from __future__ import annotations

import polars as pl

from feature_repo.contracts import POSTS, USERS
from feature_repo.datasets.own.authors import AuthorLookup
from feature_repo.datasets.own.seen import Seen
from feature_repo.datasets.own.side_tables import MEDIA

_POSTS = dict(pl.from_arrow(POSTS.empty_table()).schema)
_USERS = dict(pl.from_arrow(USERS.empty_table()).schema)
_TIME = pl.Datetime("us", "UTC")


def filled_posts(given: pl.DataFrame | None, seen: Seen, authors: AuthorLookup) -> pl.DataFrame:
    """Posts of the files with an author and a time of creation each, then posts that only events name.

    Where the files lack them, the author is that of the events or of `authors`, and the time that of the first event, which is
    also the latest that a post may be created.
    """
    first = seen.posts()
    if given is None:
        return _derived_posts(first)
    earliest = first["first"].min()
    known = given.join(first.rename({"author_id": "named"}), "post_id", how="left", maintain_order="left").with_columns(
        author_id=pl.coalesce("author_id", "named"),
        # A post was there when it was first seen, whatever its file says: nothing may happen to one that is not created yet.
        created_at=pl.min_horizontal(pl.coalesce("created_at", "first", pl.lit(earliest, _TIME)), "first"),
    )
    known = known.with_columns(author_id=authors.filled(known["author_id"], known["post_id"]))
    others = _derived_posts(first.join(given.select("post_id"), "post_id", how="anti", maintain_order="left"))
    return pl.concat([known.select(list(_POSTS)), others])


def _derived_posts(first: pl.DataFrame) -> pl.DataFrame:
    posts = first.rename({"first": "created_at"}).with_columns(
        topics=pl.lit([], pl.List(pl.Int32)),
        media=pl.lit(MEDIA),
        duration_ms=pl.lit(None, pl.Int64),
        language=pl.lit(None, pl.String),
        text=pl.lit(None, pl.String),
        in_reply_to=pl.lit(None, pl.Int64),
        embedding=pl.lit(None, pl.List(pl.Float32)),
    )
    return posts.select(pl.col(name).cast(kind) for name, kind in _POSTS.items())


def filled_users(given: pl.DataFrame | None, seen: Seen) -> pl.DataFrame:
    """Users of the files, then users that only events name, created with their first event."""
    first = seen.users()
    if given is not None:
        first = first.join(given.select("user_id"), "user_id", how="anti", maintain_order="left")
    width = 0 if given is None or given.is_empty() else int(given["attributes"].list.len().max())
    derived = first.rename({"first": "created_at"}).with_columns(
        language=pl.lit(None, pl.String),
        followers=pl.lit(None, pl.Int64),
        following=pl.lit(None, pl.Int64),
        attributes=pl.lit([-1] * width, pl.List(pl.Int32)),
    )
    derived = derived.select(pl.col(name).cast(kind) for name, kind in _USERS.items())
    return derived if given is None else pl.concat([given, derived])
