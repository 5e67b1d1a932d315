"""Small durable codes for names: topics, own actions, the values of an attribute. A name keeps its code for ever."""

from __future__ import annotations

import polars as pl
from sqlalchemy import Connection, Engine, insert, select, text

from feature_repo.ids.id_texts import IdError
from feature_repo.ids.tables import NAME_CODES
from feature_repo.ids.value_lists import is_sqlite
from infra.database import read_transaction, write_transaction

_MOST_KIND_CHARACTERS = 200


def codes(engine: Engine, kind: str, names: pl.Series) -> pl.Series:
    """The code of each name of `kind`, Int32 (n,); new names get the next codes, in the order of their first place.

    Null stays null. Raises IdError for a blank name or one with a NUL character.
    """
    wanted = _checked(kind, names).drop_nulls().unique(maintain_order=True)
    with read_transaction(engine) as connection:
        stored = _stored(connection, kind)
    if wanted.is_in(stored["name"].implode()).all():
        return _coded(names, stored)
    with write_transaction(engine) as connection:
        if not is_sqlite(connection):
            connection.execute(text(f"LOCK TABLE {NAME_CODES.name} IN SHARE ROW EXCLUSIVE MODE"))
        stored = _stored(connection, kind)  # another process may have added to it meanwhile
        fresh = wanted.filter(~wanted.is_in(stored["name"].implode())).to_list()
        rows = [{"kind": kind, "code": stored.height + place, "name": name} for place, name in enumerate(fresh)]
        if rows:
            connection.execute(insert(NAME_CODES), rows)
        stored = _stored(connection, kind)
    return _coded(names, stored)


def known_codes(engine: Engine, kind: str, names: pl.Series) -> pl.Series:
    """The code of each name of `kind`, Int32 (n,); null where the name has none."""
    with read_transaction(engine) as connection:
        return _coded(names, _stored(connection, kind))


def names(engine: Engine, kind: str, codes: pl.Series) -> pl.Series:
    """The name of each code of `kind`, String (n,); null where there is none."""
    with read_transaction(engine) as connection:
        stored = _stored(connection, kind)
    asked = pl.DataFrame({"code": codes.cast(pl.Int32)})
    return asked.join(stored, "code", how="left", maintain_order="left")["name"].rename(codes.name)


def all_names(engine: Engine, kind: str) -> list[str]:
    """All names of `kind` in the order of their codes."""
    with read_transaction(engine) as connection:
        return _stored(connection, kind)["name"].to_list()


def _stored(connection: Connection, kind: str) -> pl.DataFrame:
    """Columns name and code of all names of `kind`, by code."""
    query = select(NAME_CODES.c.name, NAME_CODES.c.code).where(NAME_CODES.c.kind == kind).order_by(NAME_CODES.c.code)
    rows = [tuple(row) for row in connection.execute(query)]
    return pl.DataFrame(rows, {"name": pl.String, "code": pl.Int32}, orient="row")


def _coded(names: pl.Series, stored: pl.DataFrame) -> pl.Series:
    asked = pl.DataFrame({"name": names.cast(pl.String)})
    return asked.join(stored, "name", how="left", maintain_order="left")["code"].rename(names.name)


def _checked(kind: str, names: pl.Series) -> pl.Series:
    if len(kind) > _MOST_KIND_CHARACTERS:
        raise IdError(
            f"names of kind {kind[:40]!r}...: the kind has {len(kind)} characters, {_MOST_KIND_CHARACTERS} is the limit"
        )
    texts = names.cast(pl.String)
    for fault, broken in (
        ("is empty or blank", texts.str.strip_chars() == ""),
        ("holds a NUL character", texts.str.contains("\0", literal=True)),
    ):
        if broken.any():
            row = int(broken.fill_null(False).arg_true()[0])
            raise IdError(
                f"{names.name or kind}: {texts[row]!r} in row {row} {fault}; give the name, or null where there is none"
            )
    return texts
