"""The one place that knows both forms of an id: what its owner writes, and the int64 that the platform works with.

Whole numbers below 2^62 are their own number and never reach the database (`id_texts`). Every other id is a row of table
`ids`; numbers come from one sequence for all kinds, so no two ids share a number whatever their kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, insert, literal, select, text

from feature_repo.ids import name_codes
from feature_repo.ids.id_texts import FIRST_ALLOTTED, as_number, id_text, id_texts, whole_numbers
from feature_repo.ids.tables import ID_FORMS, IDS, NAMES
from feature_repo.ids.value_lists import first_place, is_sqlite, value_list
from infra.database import create_tables, open_engine, read_transaction, write_transaction

Form = Literal["number", "text"]

KINDS = ("user", "author", "post")
_CHUNK = 50_000  # values of one statement


class IdTable:
    """The ids of one platform database. Safe to use from several threads and processes; nothing connects before it must."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._apart: bool | None = None  # read once: every author of a request asks for it

    # ---- ids ------------------------------------------------------------------------------------------------------

    def numbers(self, kind: str, texts: pl.Series) -> pl.Series:
        """The number of each id, Int64 (n,); ids never seen before are allotted theirs in one transaction.

        `texts` may be text, integers or whole floats. Raises IdError for what cannot be an id.
        """
        known, waiting = self._own_numbers(kind, texts)
        if waiting.is_empty():
            return known
        stored, newest = self._known_texts(kind, waiting)
        if (fresh := _without(waiting, stored)).len():
            stored = pl.concat([stored, self._allot(kind, fresh, newest)])
        return _filled(known, texts, stored)

    def known(self, kind: str, texts: pl.Series) -> pl.Series:
        """The number of each id, Int64 (n,), null where the id was never allotted one. A whole number is always known."""
        known, waiting = self._own_numbers(kind, texts)
        return known if waiting.is_empty() else _filled(known, texts, self._known_texts(kind, waiting)[0])

    def texts(self, kind: str, numbers: pl.Series) -> pl.Series:
        """The id of each number as its owner writes it, String (n,); null for null, and for a number never allotted."""
        shown = numbers.cast(pl.String).set(numbers >= FIRST_ALLOTTED, None)
        waiting = numbers.filter(numbers >= FIRST_ALLOTTED).unique()
        if not self._is_own_number(kind):
            shown = shown.clear(shown.len())
        if waiting.is_empty():
            return shown
        found: list[tuple[int, str]] = []
        with read_transaction(self._engine) as connection:
            for chunk in _chunks(waiting):
                rows, given = value_list(connection, chunk, "number")
                same_kind = IDS.c.kind == self._namespace(kind)
                query = select(IDS.c.number, IDS.c.text).where(same_kind, IDS.c.number.in_(select(rows.c.value)))
                found += [tuple(row) for row in connection.execute(query, given)]
        stored = pl.DataFrame(found, {"number": pl.Int64, "text": pl.String}, orient="row")
        asked = pl.DataFrame({"number": numbers, "shown": shown})
        return asked.join(stored, "number", how="left", maintain_order="left").select(
            pl.coalesce("shown", "text").alias(numbers.name)
        )[numbers.name]

    def number_of(self, kind: str, value: str | int) -> int:
        """The number of one id; allots it where it is new. Raises IdError."""
        own = self._own_number(kind, value)
        return own if own is not None else int(self.numbers(kind, pl.Series(kind, [id_text(value, kind)]))[0])

    def known_number(self, kind: str, value: str | int) -> int | None:
        """The number of one id, or None where it was never allotted one. Raises IdError."""
        own = self._own_number(kind, value)
        return own if own is not None else self.known(kind, pl.Series(kind, [id_text(value, kind)]))[0]

    def text_of(self, kind: str, number: int) -> str | None:
        """The id of one number as its owner writes it; None for a number never allotted."""
        return self.texts(kind, pl.Series(kind, [number], pl.Int64))[0]

    # ---- how a kind is written ------------------------------------------------------------------------------------

    def form(self, kind: str) -> Form:
        """How answers show ids of `kind`: as a JSON number or as text; "number" where nothing was recorded."""
        return self._recorded(kind)[0]

    def set_form(self, kind: str, form: Form) -> None:
        """Record how the owner writes ids of `kind`."""
        if form not in ("number", "text"):
            raise ValueError(f"form {form!r} of {kind!r} ids is none of 'number', 'text'")
        self._record(kind, form=form)

    def authors_apart(self) -> bool:
        """Whether author 7 and user 7 are two accounts; then authors are always allotted a number. Read once."""
        if self._apart is None:
            self._apart = self._recorded("author")[1]
        return self._apart

    def set_authors_apart(self, apart: bool) -> None:
        """Record whether authors are numbered apart from users. Decide it before the first author is read."""
        self._record("author", apart=apart)
        self._apart = apart

    # ---- small codes ----------------------------------------------------------------------------------------------

    def codes(self, kind: str, names: pl.Series) -> pl.Series:
        """The code of each name, Int32 (n,): 0, 1, 2, ... by kind; new names get the next ones. Null stays null.

        kind: such as "topic", "own_action", "attribute:country".
        """
        return name_codes.codes(self._engine, kind, names)

    def known_codes(self, kind: str, names: pl.Series) -> pl.Series:
        """The code of each name, Int32 (n,), null where the name has none."""
        return name_codes.known_codes(self._engine, kind, names)

    def names(self, kind: str, codes: pl.Series) -> pl.Series:
        """The name of each code, String (n,); null for null and for a code that was never given."""
        return name_codes.names(self._engine, kind, codes)

    def all_names(self, kind: str) -> list[str]:
        """All names of `kind` in the order of their codes."""
        return name_codes.all_names(self._engine, kind)

    # ---- inside ---------------------------------------------------------------------------------------------------

    @cached_property
    def _engine(self) -> Engine:
        engine = open_engine(self._url)
        create_tables(engine, *NAMES)
        return engine

    def _namespace(self, kind: str) -> str:
        """Users and authors are one kind of account, unless authors are numbered apart."""
        if kind not in KINDS:
            raise ValueError(f"ids of kind {kind!r} are none of {', '.join(KINDS)}")
        return "user" if kind == "author" and not self.authors_apart() else kind

    def _is_own_number(self, kind: str) -> bool:
        return kind != "author" or not self.authors_apart()

    def _own_number(self, kind: str, value: str | int) -> int | None:
        """The number of an id that is its own number, else None."""
        return as_number(id_text(value, kind)) if self._is_own_number(kind) else None

    def _own_numbers(self, kind: str, values: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Int64 numbers of the ids that are their own, null elsewhere; and the distinct texts of the others, sorted."""
        no_texts = pl.Series(values.name, [], pl.String)
        if values.dtype.is_integer() and not values.null_count() and self._is_own_number(kind):
            in_range = values.is_empty() or (values.min() >= 0 and values.max() < FIRST_ALLOTTED)
            if in_range:
                return values.cast(pl.Int64), no_texts
        texts = id_texts(values)
        own = whole_numbers(texts) if self._is_own_number(kind) else texts.clear(texts.len()).cast(pl.Int64)
        return own, texts.filter(own.is_null()).unique().sort()

    def _known_texts(self, kind: str, texts: pl.Series) -> tuple[pl.DataFrame, int]:
        """Text and number of those distinct `texts` that have one, and the newest number of any kind at that moment."""
        namespace = self._namespace(kind)
        with read_transaction(self._engine) as connection:
            return _stored(connection, namespace, texts), _newest(connection)

    def _allot(self, kind: str, texts: pl.Series, newest: int) -> pl.DataFrame:
        """Text and number of distinct `texts`, none of which had one when `newest` was the newest number."""
        namespace = self._namespace(kind)
        with write_transaction(self._engine) as connection:
            if not is_sqlite(connection):
                # Two transactions that read the same newest number would allot the next one twice. Readers go on.
                connection.execute(text(f"LOCK TABLE {IDS.name} IN SHARE ROW EXCLUSIVE MODE"))
            following = _newest(connection) + 1
            # Where another process has allotted numbers meanwhile, some of them may be those of our texts.
            taken = _stored(connection, namespace, texts if following > newest + 1 else texts.clear())
            fresh = _without(texts, taken)
            for number, chunk in _numbered_chunks(fresh, following):
                rows, given = value_list(connection, chunk)
                place = rows.c.key - first_place(connection)
                columns = select(literal(number) + place, literal(namespace), rows.c.value)
                connection.execute(insert(IDS).from_select(["number", "kind", "text"], columns), given)
        numbers = pl.int_range(following, following + fresh.len(), dtype=pl.Int64, eager=True)
        return pl.concat([taken, pl.DataFrame({"text": fresh.alias("text"), "number": numbers})])

    def _recorded(self, kind: str) -> tuple[Form, bool]:
        with read_transaction(self._engine) as connection:
            return _form_and_apart(connection, kind)

    def _record(self, kind: str, *, form: Form | None = None, apart: bool | None = None) -> None:
        with write_transaction(self._engine) as connection:
            was_form, was_apart = _form_and_apart(connection, kind)
            row = {"kind": kind, "form": form or was_form, "apart": was_apart if apart is None else apart}
            connection.execute(delete(ID_FORMS).where(ID_FORMS.c.kind == kind))
            connection.execute(insert(ID_FORMS), [row])


def _form_and_apart(connection: Connection, kind: str) -> tuple[Form, bool]:
    if kind not in KINDS:
        raise ValueError(f"ids of kind {kind!r} are none of {', '.join(KINDS)}")
    row = connection.execute(select(ID_FORMS.c.form, ID_FORMS.c.apart).where(ID_FORMS.c.kind == kind)).one_or_none()
    return ("number", False) if row is None else (row.form, bool(row.apart))


def _stored(connection: Connection, namespace: str, texts: pl.Series) -> pl.DataFrame:
    """Columns text and number of those distinct `texts` that have a number."""
    found: list[tuple[str, int]] = []
    for chunk in _chunks(texts):
        rows, given = value_list(connection, chunk)
        query = select(IDS.c.text, IDS.c.number).where(IDS.c.kind == namespace, IDS.c.text.in_(select(rows.c.value)))
        found += [tuple(row) for row in connection.execute(query, given)]
    return pl.DataFrame(found, {"text": pl.String, "number": pl.Int64}, orient="row")


def _newest(connection: Connection) -> int:
    """The newest number of any kind; the one before the first where there is none."""
    return connection.scalar(select(func.max(IDS.c.number))) or FIRST_ALLOTTED - 1


def _without(texts: pl.Series, stored: pl.DataFrame) -> pl.Series:
    return texts if stored.is_empty() else texts.filter(~texts.is_in(stored["text"].implode()))


def _filled(known: pl.Series, values: pl.Series, stored: pl.DataFrame) -> pl.Series:
    """`known`, its nulls filled with the stored number of the id's text."""
    asked = pl.DataFrame({"text": id_texts(values).alias("text"), "known": known})
    joined = asked.join(stored, "text", how="left", maintain_order="left")
    return joined.select(pl.coalesce("known", "number"))["known"].rename(values.name)


def _chunks(values: pl.Series) -> Iterator[list]:
    for start in range(0, values.len(), _CHUNK):
        yield values.slice(start, _CHUNK).to_list()


def _numbered_chunks(values: pl.Series, first: int) -> Iterator[tuple[int, list]]:
    for place, chunk in enumerate(_chunks(values)):
        yield first + place * _CHUNK, chunk
