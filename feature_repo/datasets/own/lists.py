"""Lists of a cell: topics and attributes by name, encoded durably, and embeddings.

A list may be a list (Parquet, JSON), text with brackets ("['a', 'b']") or text with a separator ("a|b").
"""

from __future__ import annotations

import json
import re
from decimal import Decimal

import polars as pl

from feature_repo.ids import IdTable, decimal_texts
from feature_repo.ids.id_texts import is_unicode

UNKNOWN = -1  # code of an attribute without a value
LIKELY_SEPARATOR = "|"
_QUOTES = " '\""
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_ALL_QUOTED = re.compile(rf"({_QUOTED.pattern})(\s*,\s*({_QUOTED.pattern}))*,?")
_MOST_DIGITS = 40  # before or behind the point of a number that is written without an exponent


class NoList(ValueError):
    """A column holds neither lists nor text; the message says what it holds. `row`: index of the first that is to blame."""

    def __init__(self, problem: str, row: int | None = None) -> None:
        super().__init__(problem)
        self.row = row


def names_of(values: pl.Series, separator: str | None = None) -> pl.Series:
    """List(String) (n,): the names in each cell, blanks and nulls left out; an empty list where the cell is empty.

    Without a `separator` text is parted at |, or where it is in brackets at commas. Raises NoList.
    """
    kind = values.dtype
    if isinstance(kind, pl.Array):
        values, kind = values.arr.to_list(), pl.List(kind.inner)
    if isinstance(kind, pl.List):
        lists = _text_lists(values)
    elif kind in (pl.String, pl.Categorical, pl.Enum):
        lists = _parted(values.cast(pl.String), separator)
    elif kind.is_integer() or kind == pl.Boolean or kind == pl.Null:
        lists = pl.select(pl.concat_list(values.cast(pl.String))).to_series()
    elif kind.is_float() or kind.is_decimal():
        lists = pl.select(pl.concat_list(number_texts(values))).to_series()
    else:
        raise NoList(f"is of type {kind}, which holds no names; give text or a list of text")
    cleaned = lists.list.eval(pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != "")).list.drop_nulls()
    return cleaned.fill_null([]).alias(values.name)


def _text_lists(values: pl.Series) -> pl.Series:
    inner = values.dtype.inner
    if isinstance(inner, pl.List | pl.Struct | pl.Array | pl.Binary | pl.Object):
        raise NoList(f"is a list of type {inner}; give a list of text")
    if inner.is_float() or inner.is_decimal():
        filled = values.filter((values.list.len() > 0).fill_null(False))
        return _regrouped(values.list.len().fill_null(0), number_texts(filled.explode()))
    return values.cast(pl.List(pl.String))


def _regrouped(lengths: pl.Series, flat: pl.Series) -> pl.Series:
    """Lists (n,) of these lengths, which hold the values of `flat` in order."""
    every = pl.int_range(lengths.len(), eager=True).alias("row")
    grouped = pl.DataFrame({"row": every.repeat_by(lengths).explode().drop_nulls(), "flat": flat})
    grouped = grouped.group_by("row", maintain_order=True).agg("flat")
    return every.to_frame().join(grouped, "row", how="left", maintain_order="left")["flat"].fill_null([])


def number_texts(values: pl.Series) -> pl.Series:
    """Numbers as text: 3.0 is "3", as a column of whole numbers with gaps is often written. Decimals keep every digit."""
    if values.dtype.is_decimal():
        return decimal_texts(values)
    numbers = values.cast(pl.Float64)
    whole = (numbers == numbers.round()) & (numbers.abs() < 2.0**53)
    return numbers.cast(pl.String).zip_with(
        ~whole.fill_null(False), numbers.set(~whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
    )


def _parted(text: pl.Series, separator: str | None) -> pl.Series:
    text = text.str.strip_chars()
    if separator is not None:
        return text.str.split(separator)
    brackets = (text.str.starts_with("[") & text.str.ends_with("]")).fill_null(False)
    plain = text.str.split(LIKELY_SEPARATOR)
    if not brackets.any():
        return plain
    cells = text.filter(brackets).unique()
    names = pl.Series([_bracketed(cell) for cell in cells], dtype=pl.List(pl.String))
    # Looked up by place: a list is no value that can stand for another.
    places = text.replace_strict(cells, pl.int_range(cells.len(), eager=True), default=None, return_dtype=pl.Int64)
    return plain.zip_with(~brackets, names.gather(places))


def _bracketed(cell: str) -> list[str]:
    """The names of one cell in brackets: JSON, or names in quotes, or whatever stands between its commas."""
    try:
        names = [_json_name(name) for name in json.loads(cell, parse_float=Decimal) if name is not None]
        if all(map(is_unicode, names)):
            return names
    except (ValueError, RecursionError):
        pass
    inside = cell[1:-1].strip()
    if _ALL_QUOTED.fullmatch(inside):
        return [name[1:-1] for name in _QUOTED.findall(inside)]
    return [name.strip().strip(_QUOTES) for name in inside.split(",")]


def _json_name(value: object) -> str:
    if isinstance(value, Decimal):
        digits = f"{value:f}" if abs(value.adjusted()) < _MOST_DIGITS else str(value)
        return digits.rstrip("0").rstrip(".") if "." in digits and "E" not in digits else digits
    return value if isinstance(value, str) else json.dumps(value, default=str)


def encoded(lists: pl.Series, kind: str, ids: IdTable) -> pl.Series:
    """List(Int32) (n,): the durable code of each name under `kind`."""
    flat = lists.explode().drop_nulls()
    names = flat.unique(maintain_order=True)
    if not names.len():
        return pl.Series(lists.name, [[]] * lists.len(), pl.List(pl.Int32))
    codes = ids.codes(kind, names)
    coded = flat.replace_strict(names, codes, return_dtype=pl.Int32)
    return _regrouped(lists.list.len(), coded).alias(lists.name)


def attribute_columns(columns: list[pl.Series], ids: IdTable) -> pl.Series:
    """List(Int32) (n,): one code per column, by the column's name; -1 where a cell is empty."""
    coded = [_attribute(f"attribute:{values.name}", _names(values), ids) for values in columns]
    return pl.select(pl.concat_list(coded)).to_series()


def _names(values: pl.Series) -> pl.Series:
    kind = values.dtype
    if isinstance(kind, pl.List | pl.Struct | pl.Array | pl.Binary | pl.Object):
        raise NoList(f"is of type {kind}, which names no attribute; give text or a number")
    text = (number_texts(values) if kind.is_float() or kind.is_decimal() else values.cast(pl.String)).str.strip_chars()
    return text.set((text == "").fill_null(False), None)


def _attribute(kind: str, names: pl.Series, ids: IdTable) -> pl.Series:
    distinct = names.drop_nulls().unique(maintain_order=True)
    if not distinct.len():
        return pl.repeat(UNKNOWN, names.len(), dtype=pl.Int32, eager=True)
    return names.replace_strict(distinct, ids.codes(kind, distinct), default=UNKNOWN, return_dtype=pl.Int32)


def attribute_lists(values: pl.Series, ids: IdTable) -> pl.Series:
    """List(Int32) (n,) of one column of lists. Codes (whole numbers from -1) stay; names are encoded by their place.

    All lists come out as long as the longest: a code's meaning is its place, so a shorter one is UNKNOWN at its end.
    """
    kind = values.dtype
    if isinstance(kind, pl.List) and kind.inner.is_integer():
        flat = values.explode().drop_nulls()
        if not flat.len() or (flat.min() >= UNKNOWN and flat.max() < 2**31):
            return _of_one_width(values.fill_null([]).cast(pl.List(pl.Int32)))
    lists = names_of(values)
    if (codes := lists.cast(pl.List(pl.Int32), strict=False)) is not None:
        whole = codes.list.drop_nulls().list.len() == lists.list.len()
        if whole.all() and codes.explode().drop_nulls().len() and codes.explode().min() >= UNKNOWN:
            return _of_one_width(codes)
    width = int(lists.list.len().max() or 0)
    columns = [lists.list.get(place, null_on_oob=True).alias(str(place)) for place in range(width)]
    return attribute_columns(columns, ids) if columns else pl.Series([[]] * values.len(), dtype=pl.List(pl.Int32))


def _of_one_width(codes: pl.Series) -> pl.Series:
    width = int(codes.list.len().max() or 0)
    if not width:
        return codes
    places = [codes.list.get(place, null_on_oob=True).fill_null(UNKNOWN) for place in range(width)]
    return pl.select(pl.concat_list(places)).to_series().alias(codes.name)


def embeddings(values: pl.Series) -> pl.Series:
    """List(Float32) (n,), null where the cell or its list is empty. Raises NoList unless all are finite and of one length."""
    kind = values.dtype
    if isinstance(kind, pl.Array):
        values, kind = values.arr.to_list(), pl.List(kind.inner)
    if isinstance(kind, pl.List) and kind.inner.is_numeric():
        lists = values.cast(pl.List(pl.Float32))
    elif kind == pl.String:
        text = values.str.strip_chars().str.strip_chars("[]").str.replace_all(r"[,;\s]+", " ").str.strip_chars()
        lists = text.set((text == "").fill_null(False), None).str.split(" ").cast(pl.List(pl.Float32), strict=False)
    else:
        raise NoList(f"is of type {kind}, which holds no embedding; give a list of floats")
    lists = lists.set((lists.list.len() == 0).fill_null(False), None)
    lengths = lists.list.len()
    usual = lengths.drop_nulls().mode().max()
    if (odd := (lengths != usual).fill_null(False).arg_true()).len():
        here = f"this row has {lengths[odd[0]]} numbers and most have {usual}"
        raise NoList(f"{here}; an embedding has one length, and where there is none the cell is empty", odd[0])
    sound = lists.list.eval(pl.element().is_finite().fill_null(False)).list.all().fill_null(True)
    if (broken := (~sound).arg_true()).len():
        told = "has a value that is no finite number; leave the cell empty where there is no embedding"
        raise NoList(f"{str(values[broken[0]])[:60]} {told}", broken[0])
    return lists.alias(values.name)
