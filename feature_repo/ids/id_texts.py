"""What may be an id, and which ids are their own number. Nothing here reads a database.

An id is a whole number or text. A whole number n with 0 <= n < 2^62, and text that is exactly its decimal form ("7", but
not "007", "+7" or " 7"), is its own number. Every other id gets a number from 2^62 upward, so the two never collide.
"""

from __future__ import annotations

import polars as pl

FIRST_ALLOTTED = 1 << 62
MOST_ID_CHARACTERS = 512  # a row of PostgreSQL's index holds no more than about 2,700 bytes

# A float of this size or more may have lost its last digit: 2^53 + 1 is stored as 2^53. By width of the float type.
FIRST_INEXACT = {pl.Float16: 1 << 11, pl.Float32: 1 << 24, pl.Float64: 1 << 53}
_CANONICAL = "^(0|[1-9][0-9]{0,18})$"
_MOST_BITS = 1024  # of an integer; its text has at most 309 digits
# What polars takes for blank: Unicode's white space. Python's strip() takes the four separators 0x1c to 0x1f along.
_BLANK = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_SHOWN = 40  # characters of a value that an error quotes


class IdError(ValueError):
    """A value that cannot be an id; the message names the column, the row, the value and the remedy."""


def id_texts(column: pl.Series) -> pl.Series:
    """Each id of `column` as its text, String (n,). Raises IdError for what is no id.

    Integers and whole floats become their decimal form; text stays as it is, to the last blank. Refused: null, blank text, a
    NUL character, more than MOST_ID_CHARACTERS characters, a float with a fraction or too large to be exact, and every other
    type, booleans included.
    """
    kind = column.dtype
    if column.null_count():
        raise _refused(column, column.is_null(), "is null", "give every row an id, or leave the row out")
    if kind.is_integer():
        return column.cast(pl.String)
    if kind.is_float():
        return _whole(column).cast(pl.String)
    if kind.is_decimal():
        digits = decimal_texts(column)
        if (fraction := digits.str.contains(".", literal=True)).any():
            raise _refused(column, fraction, "has a fraction", "write ids as whole numbers or as text")
        return digits
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return _checked(column.cast(pl.String))
    raise IdError(f"{_name(column)}: a column of type {kind} holds no ids; write ids as whole numbers or as text")


def decimal_texts(column: pl.Series) -> pl.Series:
    """String (n,): each decimal of `column`, exact, without zeros at the end of its fraction ("3", "-0.5"). Null stays null."""
    digits = column.cast(pl.String).str.replace(r"(\.[0-9]*?)0+$", "$1").str.replace(r"\.$", "")
    return digits.str.replace("^-0$", "0")


def whole_numbers(texts: pl.Series) -> pl.Series:
    """Int64 (n,): the number of each text that is the decimal form of a whole number below 2^62, else null."""
    digits = texts.str.contains(_CANONICAL)
    numbers = texts.set(~digits, None).cast(pl.Int64, strict=False)
    return numbers.set(numbers >= FIRST_ALLOTTED, None).rename(texts.name)


def as_number(text: str) -> int | None:
    """The number that `text` is the decimal form of if it is below 2^62, else None: `whole_numbers` for one text."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        return None
    number = int(text)
    return number if number < FIRST_ALLOTTED else None


def id_text(value: object, name: str = "id") -> str:
    """One id as its text; raises IdError for what is no id (see `id_texts`)."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise IdError(f"{name}: {str(value)[:_SHOWN]!r} is no id; give a whole number or text")
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise IdError(f"{name}: an integer of {value.bit_length()} bits is too long; the limit is {_MOST_BITS} bits")
        value = str(value)
    if not is_unicode(value):
        raise IdError(f"{name}: {value[:_SHOWN]!r} holds half of a surrogate pair, which is no text")
    if not value.strip(_BLANK):
        raise IdError(f"{name}: an id may not be empty or blank")
    if "\0" in value:
        raise IdError(f"{name}: {value[:_SHOWN]!r} holds a NUL character, which no id may hold")
    if len(value) > MOST_ID_CHARACTERS:
        raise IdError(f"{name}: an id of {len(value)} characters is too long; the limit is {MOST_ID_CHARACTERS}")
    return value


def is_unicode(text: str) -> bool:
    """Whether `text` holds no half of a surrogate pair, which JSON can say and no database keeps."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(column: pl.Series) -> pl.Series:
    remedy = "write ids as whole numbers or as text"
    if (odd := ~column.is_finite()).any():
        raise _refused(column, odd, "is not a whole number", remedy)
    first_inexact = FIRST_INEXACT[column.dtype]
    if (large := column.abs() >= first_inexact).any():
        raise _refused(column, large, f"is too large for {column.dtype}, which keeps digits below {first_inexact} only", remedy)
    whole = column.cast(pl.Int64)
    if (fraction := whole.cast(column.dtype) != column).any():
        raise _refused(column, fraction, "has a fraction", remedy)
    return whole


def _checked(texts: pl.Series) -> pl.Series:
    if (blank := texts.str.strip_chars() == "").any():
        raise _refused(texts, blank, "is empty or blank", "give every row an id, or leave the row out")
    if (nul := texts.str.contains("\0", literal=True)).any():
        raise _refused(texts, nul, "holds a NUL character", "take it out")
    if (long := texts.str.len_chars() > MOST_ID_CHARACTERS).any():
        raise _refused(texts, long, f"is longer than {MOST_ID_CHARACTERS} characters", "use a shorter id, such as its hash")
    return texts


def _refused(column: pl.Series, broken: pl.Series, fault: str, remedy: str) -> IdError:
    row = int(broken.arg_true()[0])
    shown = str(column[row])[:_SHOWN]
    return IdError(f"{_name(column)}: {shown!r} in row {row} {fault}; {remedy}")


def _name(column: pl.Series) -> str:
    return column.name or "id"
