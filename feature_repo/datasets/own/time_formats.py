"""The forms in which times are written as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import polars as pl

Order = Literal["day", "month", "none"]

_DIRECTIVE = re.compile(r"%[.#:]?[A-Za-z]")
_PLAUSIBLE_YEARS = (1900, 2200)  # "25" read as %Y is the year 25: such a reading fits no value

_WIDTHS = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2, "%3f": 3, "%6f": 6, "%9f": 9}
_FRACTIONS = ("", ".%3f", ".%6f", ".%9f")
_ZONES = ("%z", "%:z", "%#z", "%Z")
_UTC = ("Z", "+00:00")


@dataclass(frozen=True)
class Format:
    """A strptime pattern of polars; `order` says whether day or month comes first where both are numbers."""

    pattern: str
    order: Order = "none"
    name: str | None = None

    @property
    def shown(self) -> str:
        return self.name or self.pattern.replace("%.f", "")

    @property
    def has_zone(self) -> bool:
        return any(mark in self.pattern for mark in _ZONES)

    @property
    def marks(self) -> set[str]:
        """The characters that every value of this form has."""
        return set(_DIRECTIVE.sub("", self.pattern))

    def parse(self, values: pl.Series, zone: str) -> pl.Series:
        """Datetime (us, UTC) of stripped text, null where the pattern does not fit."""
        times = self.parse_alike(values, zone)
        return self._read(values, self.pattern, zone) if times is None else times

    def parse_alike(self, values: pl.Series, zone: str) -> pl.Series | None:
        """As `parse`, where all values have the form of one fixed length, such as 2025-03-04T05:06:07.123456Z; else None.

        Patterns of fixed length are read four times as fast as those with a fraction or zone of any length.
        """
        lengths = values.str.len_bytes()
        shortest = lengths.min()
        pattern = self._of_length.get(shortest) if shortest is not None and shortest == lengths.max() else None
        if pattern is None:
            return None
        times = self._read(values, pattern, zone)
        return times if times.null_count() == values.null_count() else None

    def _read(self, values: pl.Series, pattern: str, zone: str) -> pl.Series:
        """`values` by `pattern`, which is this one's or one of its fixed forms."""
        aware = any(mark in pattern for mark in _ZONES)
        times = values.str.to_datetime(
            pattern, time_unit="us", strict=False, cache=False, time_zone="UTC" if aware else None
        )  # fmt: skip
        if times.null_count() == times.len():  # most forms that are tried fit nothing
            return times if aware else times.dt.replace_time_zone("UTC")
        if not aware:
            local = "UTC" if self.has_zone else zone
            times = times.dt.replace_time_zone(local, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        years = times.dt.year()
        implausible = (years < _PLAUSIBLE_YEARS[0]) | (years > _PLAUSIBLE_YEARS[1])
        return times.set(implausible, None) if implausible.any() else times

    @cached_property
    def _of_length(self) -> dict[int, str]:
        """Patterns of fixed length that read nothing but what this one reads, by length."""
        found: dict[int, str] = {}
        for fraction, zone in product(_FRACTIONS, _UTC if "%#z" in self.pattern else ("",)):
            pattern = self.pattern.replace("%.f", fraction).replace("%#z", zone)
            if (length := _fixed_length(pattern)) is not None:
                found.setdefault(length, pattern)
        return found


def _fixed_length(pattern: str) -> int | None:
    """Characters of every value of the pattern; None where they are not always as many."""
    length, rest = 0, pattern
    for directive, width in _WIDTHS.items():
        length += rest.count(directive) * width
        rest = rest.replace(directive, "")
    return None if "%" in rest else length + len(rest)


def _iso() -> tuple[Format, ...]:
    days = ("%Y-%m-%d", "%Y/%m/%d")
    clocks = ("T%H:%M:%S%.f", " %H:%M:%S%.f", "T%H:%M", " %H:%M")
    zoned = [Format(day + clock + "%#z", name="ISO 8601") for day, clock in product(days, clocks)]
    local = [Format(day + clock, name="ISO 8601") for day, clock in product(days, (*clocks, ""))]
    return (*zoned, *local)


def _day_and_month() -> tuple[Format, ...]:
    found = []
    for mark, year in product("/-.", ("%Y", "%y")):
        for clock in ("", " %H:%M:%S%.f", " %H:%M", " %I:%M:%S %p", " %I:%M %p", ", %H:%M:%S", ", %I:%M:%S %p"):
            found.append(Format(f"%d{mark}%m{mark}{year}{clock}", "day"))
            found.append(Format(f"%m{mark}%d{mark}{year}{clock}", "month"))
    return tuple(found)


ISO = _iso()
KNOWN = (
    *ISO,
    *_day_and_month(),
    Format("%a %b %d %H:%M:%S %z %Y"),
    Format("%a, %d %b %Y %H:%M:%S %z"),
    Format("%d/%b/%Y:%H:%M:%S %z"),
    Format("%d %b %Y %H:%M:%S"),
    Format("%d %b %Y"),
    Format("%b %d, %Y %H:%M:%S"),
    Format("%b %d, %Y %I:%M:%S %p"),
    Format("%b %d, %Y"),
    Format("%Y%m%d%H%M%S"),
    Format("%Y%m%d"),
)


def fits(values: pl.Series, formats: Sequence[Format]) -> dict[Format, int]:
    """How many of `values` each format fits."""
    if len(formats) == 1 and (times := formats[0].parse_alike(values, "UTC")) is not None:
        return {formats[0]: times.len() - times.null_count()}
    text = _normal(values)
    found: dict[Format, int] = {}
    for one in formats:
        read = one.parse(text, "UTC")
        found[one] = read.len() - read.null_count()
    return found


def formats_that_fit(values: pl.Series) -> list[Format]:
    """The known formats that fit at least one of `values`."""
    marks = set("".join(_normal(values).drop_nulls().to_list()))
    likely = [one for one in KNOWN if one.marks <= marks]
    return [one for one, count in fits(values, likely).items() if count]


def parsed(values: pl.Series, formats: tuple[Format, ...], zone: str) -> pl.Series:
    """Datetime (us, UTC): each value by the first format that fits it, null where none does."""
    if (times := formats[0].parse_alike(values, zone)) is not None:
        return times
    text = _normal(values)
    times = formats[0].parse(text, zone)
    for one in formats[1:]:
        unread = (times.is_null() & text.is_not_null() & (text != "")).arg_true()
        if not unread.len():
            break
        times = times.scatter(unread, one.parse(text.gather(unread), zone))
    return times


def _normal(values: pl.Series) -> pl.Series:
    """Without blanks around, and with a trailing "UTC" or "GMT" as Z."""
    text = values.str.strip_chars()
    if text.str.ends_with("UTC").any() or text.str.ends_with("GMT").any():
        text = text.str.replace(r"\s*(UTC|GMT)$", "Z")
    return text
