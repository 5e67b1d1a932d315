"""Tables of the platform database that hold ids and small codes. Rows are only ever added."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table, Text, UniqueConstraint

from infra.database import metadata

# number: from 2^62 upward, one sequence for all kinds. kind: "user" (authors too, unless they are numbered apart), ...
IDS = Table(
    "ids",
    metadata,
    # As SQLite's own row number the primary key costs no index of its own.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("kind", "text"),
)

# How each kind is written by its owner: "number" or "text". apart: whole numbers of this kind are no other kind's.
ID_FORMS = Table(
    "id_forms",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("form", String(8), nullable=False),
    Column("apart", Boolean, nullable=False),
)

# Small numbers from 0 for the names of one kind: topics, own actions, the values of an attribute.
NAME_CODES = Table(
    "name_codes",
    metadata,
    Column("kind", String(200), primary_key=True),
    Column("code", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("kind", "name"),
)

# Whose a post is that no file named yet: as the first event of it said, at first_us (UTC microseconds).
POST_AUTHORS = Table(
    "post_authors",
    metadata,
    Column("post", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("author", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
)

NAMES = (IDS.name, ID_FORMS.name, NAME_CODES.name)
