"""Who wrote a post: as table posts says, else as the events say, else an account of its own that stands for the unknown."""

from __future__ import annotations

import polars as pl

from feature_repo.datasets.own.columns import Columns
from feature_repo.datasets.own.id_columns import IdNumbers, IdReading, id_faults
from feature_repo.datasets.own.reader import TableReader

UNKNOWN_AUTHOR = "unknown author of post "  # and the post's number: the text of the author's id
AUTHORS = {"post_id": pl.Int64, "author_id": pl.Int64}


class AuthorLookup:
    """The author of a post whose row names none: a known one, else one account per post that stands for the unknown.

    One unknown account for all posts would look like an author with every post, and a cap on posts of one author would bite.
    """

    def __init__(self, ids: IdNumbers, *known: pl.DataFrame) -> None:
        """known: frames of post_id and author_id, null where not given; an earlier frame has the say."""
        self.ids = ids
        pairs = [frame.select(list(AUTHORS)).drop_nulls() for frame in known]
        self.known = pl.concat(pairs).unique("post_id", keep="first", maintain_order=True) if pairs else None

    def of(self, post: pl.Series) -> pl.Series:
        """Int64 (n,) author of each post, null where `post` is null."""
        frame = pl.DataFrame({"post_id": post})
        author = pl.repeat(None, post.len(), dtype=pl.Int64, eager=True)
        if self.known is not None:
            author = frame.join(self.known, "post_id", how="left", maintain_order="left")["author_id"]
        open_ = author.is_null() & post.is_not_null()
        if not open_.any():
            return author
        names = frame.select(pl.concat_str(pl.lit(UNKNOWN_AUTHOR), "post_id")).to_series().set(~open_, None)
        return author.zip_with(author.is_not_null(), self.ids.numbers("author", names))

    def filled(self, author: pl.Series, post: pl.Series) -> pl.Series:
        """Int64 (n,) `author`, where it is null that of the post."""
        unknown = author.is_null()
        return author.zip_with(~unknown, self.of(post.set(~unknown, None))) if unknown.any() else author


def authors_of_rows(
    reader: TableReader, columns: Columns, readings: dict[str, IdReading], ids: IdNumbers, limit: int | None = None
) -> pl.DataFrame:
    """post_id and author_id of every post whose author some row of the events names: the first in the files."""
    found = [pl.DataFrame(schema=AUTHORS)]
    for batch in reader.batches(list({columns["post_id"]: None, columns["author_id"]: None}), limit=limit):
        numbers = {
            ours: ids.numbers(ours.removesuffix("_id"), _sound(readings[ours].texts(batch.frame[columns[ours]])))
            for ours in AUTHORS
        }
        found.append(pl.DataFrame(numbers).drop_nulls().unique("post_id", keep="first", maintain_order=True))
    return pl.concat(found).unique("post_id", keep="first", maintain_order=True)


def _sound(texts: pl.Series) -> pl.Series:
    faults = id_faults(texts)
    return texts if faults is None else texts.set(faults.is_not_null(), None)
