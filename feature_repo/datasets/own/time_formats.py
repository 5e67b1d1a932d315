"""The forms in which times are written as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import polars as pl

Order = Literal["day", "month", "none"]

_DIRECTIVE = re.compile(r"%[.#:]?[A-Za-z]")
_PLAUSIBLE_YEARS = (1900, 2200)  # "25" read as %Y is the year 25: such a reading fits no value


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
        return any(mark in self.pattern for mark in ("%z", "%:z", "%#z", "%Z"))

    @property
    def marks(self) -> set[str]:
        """The characters that every value of this form has."""
        return set(_DIRECTIVE.sub("", self.pattern))

    def expression(self, text: pl.Expr, zone: str) -> pl.Expr:
        """Datetime (us, UTC) of stripped text, null where the pattern does not fit."""
        times = text.str.to_datetime(self.pattern, time_unit="us", strict=False, time_zone="UTC" if self.has_zone else None)
        if not self.has_zone:
            times = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        return pl.when(times.dt.year().is_between(*_PLAUSIBLE_YEARS)).then(times)

    def parse(self, values: pl.Series, zone: str) -> pl.Series:
        """As `expression`, of one column."""
        return values.to_frame("text").select(self.expression(pl.col("text"), zone).alias("at"))["at"]


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
    counts = [one.expression(pl.col("text"), "UTC").count().alias(str(place)) for place, one in enumerate(formats)]
    return dict(zip(formats, _normal(values).to_frame("text").select(counts).row(0), strict=True)) if formats else {}


def formats_that_fit(values: pl.Series) -> list[Format]:
    """The known formats that fit at least one of `values`."""
    marks = set("".join(_normal(values).drop_nulls().to_list()))
    likely = [one for one in KNOWN if one.marks <= marks]
    return [one for one, count in fits(values, likely).items() if count]


def parsed(values: pl.Series, formats: tuple[Format, ...], zone: str) -> pl.Series:
    """Datetime (us, UTC): each value by the first format that fits it, null where none does."""
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
