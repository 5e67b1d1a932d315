"""Numbers of a column: read without loss, or named as lost. No value is rounded to another whole number."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import polars as pl

from feature_repo.ids import decimal_texts
from feature_repo.ids.id_texts import FIRST_INEXACT

_MOST_DIGITS = 40  # of a whole number that is looked at digit by digit; none of so many fits


def cast_number(raw: pl.Series, kind: pl.DataType) -> tuple[pl.Series, pl.Series]:
    """`raw` as numbers of type `kind`, and Boolean (n,): where a value was no such number.

    Lost are text, fractions of whole numbers, what is too large or not finite, and what a float would round to another whole
    number. Fractions become the nearest float.
    """
    if raw.dtype == pl.Boolean or not (raw.dtype.is_numeric() or raw.dtype in (pl.String, pl.Categorical, pl.Enum)):
        return pl.repeat(None, raw.len(), dtype=kind, eager=True), raw.is_not_null()
    values = raw if raw.dtype.is_integer() or raw.dtype.is_float() else _texts(raw)
    given = values.is_not_null()
    numbers = values.cast(kind, strict=False)
    if values.dtype == pl.String and numbers.null_count() > values.null_count():
        given &= (values.str.strip_chars() != "").fill_null(False)
    if kind.is_integer():
        if raw.dtype.is_float():
            return numbers, given & (numbers.is_null() | (raw != raw.round()).fill_null(False))
        unread = given & numbers.is_null()
        if values.dtype == pl.String and unread.any():
            numbers = numbers.scatter(unread.arg_true(), _whole(values.filter(unread), kind))
        return numbers, given & numbers.is_null()
    if values.dtype == pl.String and (unread := given & numbers.is_null()).any():
        numbers = numbers.scatter(unread.arg_true(), values.filter(unread).str.strip_chars().cast(kind, strict=False))
    lost = given & ~numbers.is_finite().fill_null(False)
    large = (numbers.abs() >= FIRST_INEXACT[kind.base_type()]).fill_null(False) & ~lost
    if large.any():
        rounded = [_rounded(one, number) for one, number in zip(values.filter(large), numbers.filter(large), strict=True)]
        lost = lost.scatter(large.arg_true(), rounded)
    return numbers, lost


def _texts(values: pl.Series) -> pl.Series:
    return decimal_texts(values) if values.dtype.is_decimal() else values.cast(pl.String)


def _whole(texts: pl.Series, kind: pl.DataType) -> pl.Series:
    """Whole numbers written with a point or an exponent ("3.0", as a column with gaps is often written), null for the rest."""
    plain = texts.str.strip_chars().str.replace(r"^([+-]?[0-9]+)\.0*$", "$1").cast(kind, strict=False)
    if not plain.null_count():
        return plain
    rest = [exact_number(text) if number is None else None for text, number in zip(texts, plain, strict=True)]
    exact = [int(one) if one is not None and -(2**63) <= one < 2**63 and one == int(one) else None for one in rest]
    return plain.fill_null(pl.Series(exact, dtype=pl.Int64).cast(kind, strict=False))


def exact_number(text: str) -> Decimal | None:
    """The number that `text` writes, to the last digit; None where it writes none, or one of 40 digits or more."""
    if not text.isascii() or "_" in text:  # Python would read these, nobody else does
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS else None


def _rounded(value: str | float, number: float) -> bool:
    """Whether `number`, the float of `value`, is another whole number. Text with an exponent names a float, not digits."""
    if isinstance(value, str) and "e" in value.lower():
        return False
    return Decimal(value.strip() if isinstance(value, str) else value) != Decimal(number)
