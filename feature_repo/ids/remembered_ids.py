"""Ids between a server and its clients: numbers of what they send, their own form of what they get, mostly from memory.

Where all ids are whole numbers below 2^62 no look-up is made at all. Otherwise the newest ones are kept in memory, and the
rest of a request or an answer costs one statement by kind; `at_hand` and `shown_at_hand` say whether there is such a rest,
so that a server with an event loop can wait in a thread.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import polars as pl

from feature_repo.ids.id_table import KINDS, Form, IdTable
from feature_repo.ids.id_texts import FIRST_ALLOTTED, as_number
from feature_repo.ids.own_actions import slots_by_name
from feature_repo.ids.post_authors import PostAuthors

USERS_KEPT = 50_000
POSTS_KEPT = 200_000
_INTEGER = re.compile(r"-?[1-9][0-9]{0,19}|0")


def stranger_number(text: str) -> int:
    """A number for an id that was never allotted one: negative, so that no user and no post has it; the same at each call."""
    return -1 - int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") % FIRST_ALLOTTED


class RememberedIds:
    """The ids of one platform database, in front of an IdTable. Safe to share between threads.

    `own_actions`: the dataset's own actions by name, each with the action of the contract that stands for it. `post_authors`:
    whose those posts are that only events named.
    """

    def __init__(self, database_url: str, users: int = USERS_KEPT, posts: int = POSTS_KEPT) -> None:
        """users, posts: how many of them are kept in memory."""
        self._url = database_url
        self.post_authors = PostAuthors(database_url)
        self._numbers = {"user": _Newest(users), "author": _Newest(users), "post": _Newest(posts)}
        self._texts = {"user": _Newest(users), "author": _Newest(users), "post": _Newest(posts)}
        self.reload()

    def reload(self) -> None:
        """Read again how each kind is written and which own actions there are: an ingestion may have decided it anew."""
        table = IdTable(self._url)
        self._forms: dict[str, Form] = {kind: table.form(kind) for kind in KINDS}
        self._apart = table.authors_apart()
        self.own_actions = slots_by_name(table)
        self.table = table

    # ---- what clients send ----------------------------------------------------------------------------------------

    def at_hand(self, kind: str, values: Sequence[str | int]) -> bool:
        """Whether `known` would answer from memory."""
        if self._plain(kind, values) is not None:
            return True
        texts, own = self._texts_and_own(kind, values)
        return self._numbers[kind].holds(_others(texts, own))

    def known(self, kind: str, values: Sequence[str | int]) -> np.ndarray:
        """The number of each id, int64 (n,); an id that was never allotted one gets its stranger's number. Allots nothing."""
        plain = self._plain(kind, values)
        if plain is not None:
            return plain
        texts, own = self._texts_and_own(kind, values)
        found = self._found(kind, {text for text, number in zip(texts, own, strict=True) if number is None})
        numbers = [found.get(text) if number is None else number for text, number in zip(texts, own, strict=True)]
        strangers = (stranger_number(text) if number is None else number for text, number in zip(texts, numbers, strict=True))
        return np.fromiter(strangers, np.int64, len(texts))

    def known_number(self, kind: str, value: str | int) -> int | None:
        """The number of one id, None where it was never allotted one."""
        number = int(self.known(kind, [value])[0])
        return None if number < 0 else number

    def allotted(self, kind: str, values: Sequence[str | int]) -> list[int]:
        """The number of each id; new ids are allotted theirs."""
        plain = self._plain(kind, values)
        if plain is not None:
            return plain.tolist()
        texts, own = self._texts_and_own(kind, values)
        waiting = _others(texts, own)
        found = self._found(kind, waiting)
        if len(found) < len(waiting):
            fresh = sorted(waiting - found.keys())
            found |= zip(fresh, self.table.numbers(kind, pl.Series(kind, fresh)), strict=True)
            self._numbers[kind].add(found)
        return [found[text] if number is None else number for text, number in zip(texts, own, strict=True)]

    # ---- what clients get -----------------------------------------------------------------------------------------

    def shown_at_hand(self, kind: str, numbers: np.ndarray) -> bool:
        """Whether `shown` would answer from memory."""
        return self._all_own(kind, numbers) or self._texts[kind].holds(self._looked_up(kind, numbers))

    def shown(self, kind: str, numbers: np.ndarray) -> list[str | int]:
        """Each id as its owner writes it (n,): a JSON number or text, by the form of its kind.

        A number that was never allotted, such as one of another database, is shown as it is.
        """
        form = self._forms[kind]
        if self._all_own(kind, numbers):
            return numbers.tolist() if form == "number" else list(map(str, numbers.tolist()))
        remembered = self._texts[kind]
        wanted = set(self._looked_up(kind, numbers))
        texts = remembered.of(wanted)
        if missing := sorted(wanted - texts.keys()):
            read = self.table.texts(kind, pl.Series(kind, missing, pl.Int64))
            found = {number: text for number, text in zip(missing, read, strict=True) if text is not None}
            remembered.add(found)
            texts |= found
        return [in_form(texts.get(number, str(number)), form) for number in numbers.tolist()]

    def as_written(self, kind: str, value: str | int) -> str | int:
        """An id of a request in the form that answers have."""
        return in_form(str(value), self._forms[kind])

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _own_numbers(self, kind: str) -> bool:
        return kind != "author" or not self._apart

    def _plain(self, kind: str, values: Sequence[str | int]) -> np.ndarray | None:
        """The values as they are, where all of them are integers that are their own numbers."""
        if not self._own_numbers(kind) or not set(map(type, values)) <= {int}:
            return None
        try:
            numbers = np.array(values, np.int64)
        except OverflowError:
            return None
        return numbers if len(numbers) == 0 or (numbers.min() >= 0 and numbers.max() < FIRST_ALLOTTED) else None

    def _texts_and_own(self, kind: str, values: Sequence[str | int]) -> tuple[list[str], list[int | None]]:
        """The values as texts, and the number of each that is its own, else None."""
        texts = [value if type(value) is str else str(value) for value in values]
        return texts, list(map(as_number, texts)) if self._own_numbers(kind) else [None] * len(texts)

    def _found(self, kind: str, texts: set[str]) -> dict[str, int]:
        """Numbers of those `texts` that have one, from memory first."""
        remembered = self._numbers[kind]
        found = remembered.of(texts)
        if missing := sorted(texts - found.keys()):
            numbers = self.table.known(kind, pl.Series(kind, missing))
            read = {text: number for text, number in zip(missing, numbers, strict=True) if number is not None}
            remembered.add(read)
            found |= read
        return found

    def _all_own(self, kind: str, numbers: np.ndarray) -> bool:
        return self._own_numbers(kind) and (len(numbers) == 0 or int(numbers.max()) < FIRST_ALLOTTED)

    def _looked_up(self, kind: str, numbers: np.ndarray) -> list[int]:
        return (numbers if not self._own_numbers(kind) else numbers[numbers >= FIRST_ALLOTTED]).tolist()


class _Newest:
    """A mapping that forgets what was used least recently."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict = OrderedDict()

    def holds(self, keys: Iterable[str | int]) -> bool:
        """Whether all of `keys` are kept."""
        return all(map(self._kept.__contains__, keys))

    def of(self, keys: Iterable[str | int]) -> dict:
        """The values of those `keys` that are kept."""
        with self._lock:
            kept, used = self._kept, self._kept.move_to_end
            found = {key: kept[key] for key in keys if key in kept}
            for key in found:
                used(key)
            return found

    def add(self, pairs: dict) -> None:
        """Keep `pairs`, and no more than was said."""
        with self._lock:
            self._kept.update(pairs)
            for _ in range(len(self._kept) - self._most):
                self._kept.popitem(last=False)


def _others(texts: list[str], own: list[int | None]) -> set[str]:
    """The texts that are not their own number."""
    return {text for text, number in zip(texts, own, strict=True) if number is None}


def in_form(text: str, form: Form) -> str | int:
    """An id's text as answers of `form` show it; text that is no integer of 64 bits stays text."""
    if form == "text" or not _INTEGER.fullmatch(text):
        return text
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 64 else text
