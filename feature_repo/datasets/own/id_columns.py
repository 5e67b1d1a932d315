"""Ids of a column: whole numbers or text, refused where reading them would make two ids one.

Whether a text column such as "1.0", "2.0" holds floats is a question to the whole column, so it is asked before a row is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from feature_repo.datasets.own.known_texts import KnownTexts
from feature_repo.datasets.own.number_columns import exact_number
from feature_repo.datasets.own.reader import RawBatch
from feature_repo.datasets.own.refusal import Example, Refusal, first_where
from feature_repo.ids import FIRST_ALLOTTED, MOST_ID_CHARACTERS, IdTable, decimal_texts
from feature_repo.ids.id_texts import FIRST_INEXACT

_FLOAT = r"^[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+)$"
_INTEGER = r"^[+-]?[0-9]+$"
_FRACTION = r"^[+-]?[0-9]*\.[0-9]*[1-9][0-9]*$"
_TRUTH = ("true", "false")
REMEDY = "write ids as whole numbers or as text"


@dataclass
class IdCheck:
    """Sees every value of one column of ids, then decides how to read them."""

    column: str
    rows: int = 0
    odd: Refusal | None = None
    truths: int = 0  # values true or false
    floats: Example | None = None
    fraction: Example | None = None
    large: Example | None = None
    words: Example | None = None  # text that is no number
    allotted: bool = False  # some id is not its own number, so answers show ids as text

    def add(self, values: pl.Series, kinds: pl.Series | None, batch: RawBatch) -> None:
        """Look at the values of one batch; `kinds` are their JSON types where the file is JSON."""
        kind = values.dtype
        if values.null_count() == values.len() or self.odd is not None:
            return
        self.rows += values.len() - values.null_count()
        if kind.is_integer():
            self.allotted |= not all_own_numbers(values)
        elif kind.is_float():
            self._add_floats(values, FIRST_INEXACT[kind.base_type()], batch)
        elif kind.is_decimal():
            self._add_decimals(values, batch)
        elif kind in (pl.String, pl.Categorical, pl.Enum):
            self._add_texts(values.cast(pl.String), kinds, batch)
        else:
            self._refuse(f"is of type {kind}, which holds no ids; {REMEDY}", first_where(values.is_not_null(), values, batch))

    def _add_floats(self, values: pl.Series, largest: int, batch: RawBatch, written: pl.Series | None = None) -> None:
        """`written`: the text of each of the values, where they are text: the nearest float of a fraction may have none."""
        shown = values if written is None else written
        self.floats = self.floats or first_where(values.is_not_null(), shown, batch)
        fraction = ((values != values.round()) | ~values.is_finite()).fill_null(False)
        if written is not None:
            fraction |= _has_fraction(written)
        large = (values.abs() >= largest).fill_null(False) & ~fraction
        if self.fraction is None and fraction.any():
            self.fraction = first_where(fraction, shown, batch)
        if self.large is None and large.any():
            self.large = first_where(large, shown, batch)
        self.allotted |= bool((values < 0).any())

    def _add_decimals(self, values: pl.Series, batch: RawBatch) -> None:
        self.floats = self.floats or first_where(values.is_not_null(), values, batch)
        digits = decimal_texts(values)
        fraction = digits.str.contains(".", literal=True).fill_null(False)
        if self.fraction is None and fraction.any():
            self.fraction = first_where(fraction, values, batch)
        self.allotted |= own_numbers(digits) is None

    def _add_texts(self, texts: pl.Series, kinds: pl.Series | None, batch: RawBatch) -> None:
        if kinds is not None:
            for name in ("BOOLEAN", "ARRAY", "OBJECT"):
                if (odd := (kinds == name).fill_null(False)).any():
                    return self._refuse(f"is JSON of type {name.lower()}; {REMEDY}", first_where(odd, texts, batch))
        if self.words is not None and self.words.value.lower() not in _TRUTH:
            return None  # text it is, whatever follows
        if own_numbers(texts) is not None:
            return None
        rest = texts.is_not_null() & ~is_own_number(texts) & (texts != "")
        if not rest.any():
            return None
        others = texts.set(~rest, None)
        floats = others.str.contains(_FLOAT).fill_null(False)
        if floats.any():
            written = others.set(~floats, None)
            numbers = written.cast(pl.Float64, strict=False)
            self._add_floats(numbers, FIRST_INEXACT[pl.Float64], batch, written)
        truths = others.str.to_lowercase().is_in(_TRUTH).fill_null(False)
        self.truths += int(truths.sum())
        words = rest & ~floats & ~others.str.contains(_INTEGER).fill_null(False) & (others.str.strip_chars() != "")
        if (plain := words & ~truths).any():
            self.words = first_where(plain, texts, batch)
        elif self.words is None and words.any():
            self.words = first_where(words, texts, batch)
        self.allotted |= bool((rest & ~floats).any())
        return None

    def decide(self) -> IdReading | Refusal:
        """How to read the column, or why it can't be."""
        if self.odd is not None:
            return self.odd
        if self.truths and self.truths == self.rows:
            return Refusal(
                self.words.file if self.words else "", self.column, self.words.row if self.words else None,
                f"every value is true or false, which is no id; {REMEDY}",
            )  # fmt: skip
        if self.floats is None:
            return IdReading(floats=False, form="text" if self.allotted else "number")
        if self.words is not None:
            # Text such as "v1" beside "1.5": all of it is text, and kept as it stands.
            return IdReading(floats=False, form="text")
        if self.fraction is not None:
            return self._refusal(f"{self.fraction.value} is no whole number, so it is no id; {REMEDY}", self.fraction)
        if self.large is not None:
            return self._refusal(
                f"{self.large.value} is a float of 2^53 or more, where digits are lost; write the ids as integers or as text",
                self.large,
            )
        return IdReading(floats=True, form="text" if self.allotted else "number")

    def _refuse(self, problem: str, where: Example) -> None:
        self.odd = self._refusal(problem, where)

    def _refusal(self, problem: str, where: Example) -> Refusal:
        return Refusal(where.file, self.column, where.row, problem)


@dataclass(frozen=True)
class IdReading:
    """How the values of one column become ids."""

    floats: bool  # whole numbers written as floats: "1.0" is 1
    form: str  # how answers show the ids: "number" or "text"

    def texts(self, values: pl.Series) -> pl.Series:
        """The ids as integers or as text, null where the cell is empty, blank, or no id."""
        kind = values.dtype
        if kind.is_integer():
            return values
        if kind.is_decimal():
            digits = decimal_texts(values)
            return digits if (numbers := own_numbers(digits)) is None else numbers
        if kind.is_float():
            return values.cast(pl.Int64)
        texts = values.cast(pl.String)
        if self.floats:
            whole = texts.str.contains(_INTEGER)
            cast = texts.set(whole, None).str.strip_chars().cast(pl.Float64, strict=False).cast(pl.Int64).cast(pl.String)
            return _not_blank(texts.zip_with(whole.fill_null(True), cast))
        numbers = own_numbers(texts)
        return _not_blank(texts) if numbers is None else numbers


def _has_fraction(texts: pl.Series) -> pl.Series:
    """Boolean (n,): text that is a number with a fraction, whatever its nearest float says. False for null."""
    fraction = texts.str.contains(_FRACTION).fill_null(False)
    exponents = (texts.str.contains("[eE]") & ~fraction).fill_null(False)
    if not exponents.any():
        return fraction
    numbers = [exact_number(text) for text in texts.filter(exponents)]
    return fraction.scatter(exponents.arg_true(), [one is not None and one != one.to_integral_value() for one in numbers])


def _not_blank(texts: pl.Series) -> pl.Series:
    empty = (texts.str.strip_chars() == "").fill_null(False)
    return texts.set(empty, None) if empty.any() else texts


def all_own_numbers(ids: pl.Series) -> bool:
    """Whether every integer is from 0 to below 2^62."""
    lowest, highest = ids.min(), ids.max()
    return lowest is None or (lowest >= 0 and highest < FIRST_ALLOTTED)


def own_numbers(texts: pl.Series) -> pl.Series | None:
    """Int64 (n,): the ids of text, where all are their own numbers; else None. Null stays null."""
    numbers = texts.cast(pl.Int64, strict=False)
    highest = numbers.max()
    if numbers.null_count() != texts.null_count() or highest is None or not all_own_numbers(numbers):
        return None
    # A text is its number's decimal form, or longer by a sign, blanks or leading zeros. So where all texts together are as long
    # as all decimal forms together, every text is its number's decimal form.
    digits = texts.len() - texts.null_count() + sum((numbers >= 10**k).sum() for k in range(1, len(str(highest))))
    return numbers if digits == texts.str.len_bytes().sum() else None


def is_own_number(texts: pl.Series) -> pl.Series:
    """Boolean (n,): text that is the decimal form of a whole number below 2^62. False for null."""
    whole = texts.cast(pl.Int64, strict=False)
    same = (whole >= 0) & (whole < FIRST_ALLOTTED) & (whole.cast(pl.String) == texts)
    return same.fill_null(False)


def id_faults(texts: pl.Series) -> pl.Series | None:
    """Why a text may not be an id, null where it may; None where all may."""
    if texts.dtype != pl.String:
        return None
    nul = texts.str.contains("\0", literal=True).fill_null(False)
    long = (texts.str.len_chars() > MOST_ID_CHARACTERS).fill_null(False)
    if not nul.any() and not long.any():
        return None
    told = pl.when(nul).then(pl.lit("holds a NUL character"))
    return pl.select(told.when(long).then(pl.lit(f"is longer than {MOST_ID_CHARACTERS} characters"))).to_series()


class IdNumbers:
    """The numbers of ids; what the table has once answered is not asked again."""

    def __init__(self, table: IdTable) -> None:
        self.table = table
        self._known: dict[str, KnownTexts] = {}

    def numbers(self, kind: str, ids: pl.Series) -> pl.Series:
        """Int64 (n,), null where `ids` (integers or text) is null."""
        apart = kind == "author" and self.table.authors_apart()
        if ids.dtype.is_integer() and not apart and all_own_numbers(ids):
            return ids.cast(pl.Int64)
        texts = ids.cast(pl.String)
        if not apart and kind not in self._known and (whole := own_numbers(texts)) is not None:
            return whole
        return self._looked_up(kind, texts)

    def _looked_up(self, kind: str, texts: pl.Series) -> pl.Series:
        known = self._known.setdefault(kind, KnownTexts())
        numbers, hit = known.find(texts)
        given = texts.is_not_null().to_numpy()
        if (hit == given).all():
            return (
                pl.Series(texts.name, numbers).set(pl.Series(~given), None)
                if not given.all()
                else pl.Series(texts.name, numbers)
            )
        fresh = texts.filter(pl.Series(given & ~hit)).unique(maintain_order=True)
        known.add(fresh, self.table.numbers(kind, fresh))
        return self._looked_up(kind, texts)
