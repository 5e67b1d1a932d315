"""The aggregate families: for which keys the measures are kept.

A key is one id or a pair of ids, read off an event. An event that has no value for one of them (a post without a topic)
belongs to no key of that family.
"""

from __future__ import annotations

from dataclasses import dataclass

# Id columns of an event as the engines read them. `topic` is the post's first topic (-1: none), `hour` the hour of the day
# (UTC) of the event, `product` the bucket of the surface it happened on.
ID_COLUMNS = ("user_id", "post_id", "author_id", "topic", "hour", "product")


@dataclass(frozen=True)
class Family:
    """All measures kept for one kind of key."""

    name: str
    ids: tuple[str, ...]  # one or two of ID_COLUMNS
    words: str
    owner: str
    distinct: tuple[str, ...] = ()  # names of pair families whose first meetings are counted here, at most two

    @property
    def undated(self) -> bool:
        """Whether undated events are counted: for pairs they would be most of the memory and say little."""
        return len(self.ids) == 1


FAMILIES = (
    Family("user", ("user_id",), "what a user does", "ranking", ("user_author", "user_topic")),
    Family("post", ("post_id",), "what people do to a post", "ranking"),
    Family("author", ("author_id",), "what people do to an author's posts", "ranking", ("user_author", "author_topic")),
    Family("topic", ("topic",), "what people do to posts of a topic", "ranking", ("user_topic", "author_topic")),
    Family("user_author", ("user_id", "author_id"), "what a user does to an author's posts", "ranking"),
    Family("user_topic", ("user_id", "topic"), "what a user does to posts of a topic", "ranking"),
    Family("author_topic", ("author_id", "topic"), "what people do to an author's posts of a topic", "discovery"),
    Family("post_hour", ("post_id", "hour"), "what people do to a post at an hour of the day", "discovery"),
    Family("author_hour", ("author_id", "hour"), "what people do to an author's posts at an hour of the day", "discovery"),
    Family("topic_hour", ("topic", "hour"), "what people do to posts of a topic at an hour of the day", "discovery"),
    Family("user_hour", ("user_id", "hour"), "what a user does at an hour of the day", "growth"),
    Family("user_product", ("user_id", "product"), "what a user does on a surface", "growth"),
)
FAMILY_NAMES = tuple(family.name for family in FAMILIES)
FAMILY_OF = {family.name: family for family in FAMILIES}
