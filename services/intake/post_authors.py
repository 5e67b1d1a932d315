"""Whose post an event is of: as the snapshot has it, else as the post's first event claimed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from feature_repo.ids import RememberedIds
from feature_repo.ids.post_authors import Claim


def authors_of_rows(
    rows: Sequence[dict], ids: RememberedIds, author_of: Callable[[int], int | None]
) -> tuple[list[dict | None], list[str | None]]:
    """Each row with its post's author, and for each row why it is refused; one of the two is None.

    A known author is a number under `author`. Of a post that nobody knows, the first row's `author_id` stands for the rows
    after it too: it is still as it was sent, and nothing is claimed yet.
    """
    posts = [int(number) for number in ids.known("post", [row["post_id"] for row in rows])]
    known = {post: author for post in set(posts) if post >= 0 and (author := author_of(post)) is not None}
    unknown = {post for post in posts if post >= 0} - known.keys()
    known |= ids.post_authors.of(unknown)
    first: dict[str | int, str | int] = {}  # of posts without an author: the one that this batch names first
    found: list[dict | None] = []
    reasons: list[str | None] = []
    for row, post in zip(rows, posts, strict=True):
        given, key = row["author_id"], ids.as_written("post", row["post_id"])
        if post in known:
            author = known[post]
            wrong = given is not None and not is_author(ids, given, author)
            found.append(None if wrong else {**row, "author": author})
        else:
            if given is not None:
                first.setdefault(key, given)
            wrong = given is not None and ids.as_written("author", given) != ids.as_written("author", first[key])
            found.append(None if wrong or key not in first else {**row, "author_id": first[key]})
        unsaid = f"post {row['post_id']} is unknown: send author_id with the event"
        reasons.append(None if found[-1] is not None else another_author(row) if wrong else unsaid)
    return found, reasons


def claimed_authors(rows: Sequence[dict], posts: Sequence[int], authors: Sequence[int], ids: RememberedIds) -> dict[int, int]:
    """The author of each post of `rows` that had none until now, after the rows have claimed theirs.

    posts, authors: the numbers of each row. A post that another process has claimed since `authors_of_rows` keeps its author.
    """
    claims: dict[int, Claim] = {}
    for row, post, author in zip(rows, posts, authors, strict=True):
        if "author" not in row:
            first_us = min(row["occurred_at"], claims[post].first_us if post in claims else row["occurred_at"])
            claims[post] = Claim(author, first_us)
    return ids.post_authors.claim(claims)


def is_author(ids: RememberedIds, given: str | int, author: int) -> bool:
    """Whether the author that a client gave is the one of that number."""
    return ids.as_written("author", given) == ids.shown("author", pl.Series([author]).to_numpy())[0]


def another_author(row: dict) -> str:
    return f"author_id {row['author_id']} is not the author of post {row['post_id']}; leave author_id out"
