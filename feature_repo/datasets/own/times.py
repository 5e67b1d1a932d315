"""Times: their unit or format is found from a whole column, or refused in one sentence with the remedy.

Integers are seconds, milliseconds, microseconds or nanoseconds since 1970, whichever puts them between the earliest plausible
day and the present. Text is ISO 8601 or one of the usual forms; 11/05/2025 is read only where some value of the column settles
whether the day or the month comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import polars as pl

from feature_repo.datasets.own.mapping import TimeMapping
from feature_repo.datasets.own.reader import RawBatch
from feature_repo.datasets.own.refusal import Example, Refusal, first_where
from feature_repo.datasets.own.time_formats import ISO, Format, fits, formats_that_fit, parsed
from feature_repo.plausible_times import latest_plausible

UNITS = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}  # microseconds
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
SETTLED = 0.99  # share of the plausible values that must agree on one unit
ENOUGH = 0.5  # share of all values that must be plausible times
LARGEST_EXACT = 2.0**53
_YEARS = (1900, 2100)
_FIRST_DIGITS, _LAST_DIGITS = 19_000_101, 21_001_231_235_959  # 1900-01-01 as a number, 2100-12-31 23:59:59 as one
_SAMPLE = 500  # values of the first batch against which every known format is tried
_MICROSECONDS = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Bounds:
    """The times that a row may have: from `earliest` up to `latest`."""

    earliest: datetime
    latest: datetime

    @classmethod
    def of(cls, earliest: date, now: datetime | None = None) -> Bounds:
        """From the first second of `earliest` to what an ingestion at `now` (default: the present) believes."""
        return cls(datetime(earliest.year, earliest.month, earliest.day, tzinfo=UTC), latest_plausible(now))


@dataclass(frozen=True)
class TimeReading:
    """How the values of one column become times."""

    unit: str | None = None  # of numbers
    formats: tuple[Format, ...] = ()  # of text, in the order in which they are tried
    zone: str = "UTC"

    def times(self, values: pl.Series) -> pl.Series:
        """Datetime (us, UTC), null where a value cannot be read."""
        kind = values.dtype
        if kind == pl.Date or isinstance(kind, pl.Datetime):
            return _in_utc(values.cast(pl.Datetime("us", getattr(kind, "time_zone", None))), self.zone)
        if kind.is_numeric() and self.unit is not None:
            return _from_numbers(values, self.unit)
        text = values.cast(pl.String)
        if self.unit is not None:
            numbers = text.str.strip_chars()
            whole = numbers.cast(pl.Int64, strict=False)
            if whole.null_count() == numbers.null_count():
                return _from_numbers(whole, self.unit)
            with_fractions = numbers.set(whole.is_not_null(), None).cast(pl.Float64, strict=False)
            return pl.select(pl.coalesce(_from_numbers(whole, self.unit), _from_numbers(with_fractions, self.unit))).to_series()
        return parsed(text, self.formats, self.zone)

    def skipped(self, values: pl.Series, times: pl.Series) -> pl.Series | None:
        """Boolean (n,): local times that the zone's clock skipped when it was put forward; None where there are none.

        times: `values` as `times` reads them, null where it reads none.
        """
        if self.zone == "UTC" or self.unit is not None or times.null_count() == values.null_count():
            return None
        found = times.is_null() & replace(self, zone="UTC").times(values).is_not_null()
        return found if found.any() else None

    @property
    def told(self) -> str:
        """The reading in words."""
        if self.unit is not None:
            return f"{NAMES[self.unit]} since 1970"
        return " or ".join(dict.fromkeys(one.shown for one in self.formats)) if self.formats else "timestamps"


def _declared_formats(pattern: str) -> tuple[Format, ...]:
    """The pattern as it is, and where it ends in seconds also with a fraction of them."""
    plain = Format(pattern)
    return (plain, Format(pattern + "%.f")) if pattern.endswith("%S") else (plain,)


def _in_utc(values: pl.Series, zone: str) -> pl.Series:
    if values.dtype.time_zone is None:
        values = values.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return values.dt.convert_time_zone("UTC")


def _from_numbers(values: pl.Series, unit: str) -> pl.Series:
    """Whole numbers stay exact; fractions of seconds are kept to the microsecond. Out of range is null."""
    size = UNITS[unit]
    if values.dtype.is_integer():
        bound = int(9e18 // max(size, 1.0))
        whole = values.cast(pl.Int64, strict=False)
        inside = whole.set(~whole.is_between(-bound, bound), None)
        return (inside // 1_000 if unit == "ns" else inside * int(size)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    numbers = values.cast(pl.Float64)
    scaled = (numbers.set(~numbers.is_finite(), None) * size).round()
    return scaled.set(scaled.abs() > 9e18, None).cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


@dataclass
class TimeCheck:
    """Sees every value of one column of times, then decides how to read them."""

    column: str
    declared: TimeMapping
    bounds: Bounds
    rows: int = 0
    numbers: int = 0  # values that are numbers, zeros and -1 (a missing time) left out
    texts: int = 0
    native: int = 0
    inexact: Example | None = None
    odd_type: str | None = None
    first: Example | None = None
    first_text: Example | None = None
    units: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    years: int = 0
    fitting: dict[Format, int] | None = None

    def add(self, values: pl.Series, batch: RawBatch) -> None:
        """Count what the values of one batch may be."""
        if values.null_count() == values.len():
            return
        self.rows += values.len() - values.null_count()
        kind = values.dtype
        if self.first is None:
            self.first = first_where(values.is_not_null(), values, batch)
        if kind == pl.Date or isinstance(kind, pl.Datetime):
            self.native += values.len() - values.null_count()
        elif kind.is_float() or kind.is_integer():
            self._add_numbers(values, batch)
        elif kind in (pl.String, pl.Categorical, pl.Enum):
            text = values.cast(pl.String)
            if not (self.texts and self._all_fit(text)):
                self._add_texts(text.str.strip_chars(), batch)
        else:
            self.odd_type = str(kind)

    def _add_numbers(self, values: pl.Series, batch: RawBatch) -> None:
        if values.dtype.is_float() and self.inexact is None:
            large = (values.is_finite() & (values.abs() > LARGEST_EXACT)).fill_null(False)  # NaN is greater than any number
            if large.any():
                self.inexact = first_where(large, values, batch)
        real = values.drop_nulls().cast(pl.Float64)  # exact enough to tell units apart
        real = real.filter((real != 0) & (real != -1) & real.is_finite())
        self.numbers += real.len()
        if values.dtype.is_integer() and real.len() and int(real.min()) >= _FIRST_DIGITS and int(real.max()) <= _LAST_DIGITS:
            self._try_formats(real.cast(pl.Int64).cast(pl.String))
        earliest, latest = (moment.timestamp() * 1e6 for moment in (self.bounds.earliest, self.bounds.latest))
        for unit, size in UNITS.items():
            self.units[unit] += int(real.is_between(earliest / size, latest / size).sum())
        self.years += int(real.is_between(*_YEARS).sum())

    def _add_texts(self, values: pl.Series, batch: RawBatch) -> None:
        values = values.set(values == "", None)
        if self.texts and self._all_fit(values):
            return
        numeric = values.cast(pl.Float64, strict=False)
        if numeric.null_count() < values.len():
            self._add_numbers(
                values.cast(pl.Int64, strict=False) if not self._has_fractions(values, numeric) else numeric, batch
            )
        words = values.filter(numeric.is_null()).drop_nulls()
        self.texts += words.len()
        if words.len() and self.first_text is None:
            self.first_text = first_where(numeric.is_null() & values.is_not_null(), values, batch)
        if words.len():
            self._try_formats(words)

    def _all_fit(self, values: pl.Series) -> bool:
        """Count the values of a later batch where one of the formats found so far fits them all."""
        found = fits(values, [one for one, count in (self.fitting or {}).items() if count])
        given = values.len() - values.null_count()
        if max(found.values(), default=0) < given:
            return False
        self.texts += given
        for one, count in found.items():
            self.fitting[one] += count
        return True

    def _try_formats(self, tried: pl.Series) -> None:
        if self.fitting is None or not any(self.fitting.values()):
            self.fitting = dict.fromkeys(formats_that_fit(tried.head(_SAMPLE)), 0)
        for one, count in fits(tried, list(self.fitting)).items():
            self.fitting[one] += count

    @staticmethod
    def _has_fractions(values: pl.Series, numeric: pl.Series) -> bool:
        return values.cast(pl.Int64, strict=False).null_count() > numeric.null_count()

    # ---- the decision ---------------------------------------------------------------------------------------------
    def decide(self) -> TimeReading | Refusal | None:
        """How to read the column, or why it can't be; None where it holds no value at all."""
        if self.odd_type is not None:
            return self._refused(f"is of type {self.odd_type}, which is no time; map a column of times")
        declared, zone = self.declared.format, self.declared.zone
        if self.inexact is not None and not self.native:
            return self._refused(
                f"{self.inexact.value} is a float too large to be exact; store times as integers", self.inexact
            )
        if declared in UNITS:
            return self._declared_unit(declared, zone)
        if declared == "iso":
            return TimeReading(formats=ISO, zone=zone)
        if declared != "auto":
            return TimeReading(formats=_declared_formats(declared), zone=zone)
        if not self.rows:
            return None
        if self.native and (self.numbers or self.texts):
            others = self.numbers + self.texts
            told = f"{self.native:,} values are timestamps and {others:,} are numbers or text"
            return self._refused(f"{told}; store all as one type")
        if self.native:
            return TimeReading(zone=zone)
        if self.numbers and not self.texts:
            return self._unit_or_digits(zone)
        if not self.texts:
            return self._refused("every value is 0, -1 or empty; map the column that holds the time")
        if self.numbers:
            return self._refused(
                f"{self.numbers:,} values are numbers and {self.texts:,} are text such as {self._text!r}; "
                "write all in one form",
                self.first_text,
            )
        return self._text_format(zone)

    def _declared_unit(self, unit: str, zone: str) -> TimeReading | Refusal:
        if self.texts and not self.numbers:
            return self._refused(f"{self._text!r} is no number, but the mapping says {unit}; correct `time`", self.first_text)
        best = max(self.units, key=lambda one: self.units[one])
        if self.numbers and not self.units[unit] and self.units[best] >= SETTLED * self.numbers:
            told = f"the mapping says {unit}, as which {self._value} is no time of this log; as {best} it is"
            return self._refused(f"{told} {self._as_date(best)}: say `time: {best}`")
        return TimeReading(unit=unit, zone=zone)

    def _unit_or_digits(self, zone: str) -> TimeReading | Refusal:
        best = max(self.units, key=lambda unit: self.units[unit])
        if not self.units[best]:
            return self._no_unit(zone)
        rivals = [unit for unit, count in self.units.items() if unit != best and count]
        agreed = [unit for unit, count in self.units.items() if count >= SETTLED * self.numbers]
        if len(agreed) > 1:
            told = " or ".join(f"{unit} ({self._as_date(unit)})" for unit in agreed)
            return self._refused(f"{self._value} may be {told}; say which, as `time: {agreed[0]}`")
        plausible = sum(self.units.values())
        if rivals and self.units[best] < SETTLED * plausible:
            told = ", ".join(f"{count:,} as {NAMES[unit]}" for unit, count in self.units.items() if count)
            return self._refused(f"times in more than one unit: {told}; write all in one unit")
        if plausible < ENOUGH * self.numbers:
            return self._refused(
                f"only {self.units[best]:,} of {self.numbers:,} values are plausible as {NAMES[best]}; if they are, say "
                f"`time: {best}`"
            )
        return TimeReading(unit=best, zone=zone)

    def _no_unit(self, zone: str) -> TimeReading | Refusal:
        digits = [one for one, count in (self.fitting or {}).items() if count >= SETTLED * self.numbers]
        if len(digits) == 1:
            return TimeReading(formats=(digits[0],), zone=zone)
        if self.years >= SETTLED * self.numbers:
            return self._refused(
                f"{self._value} looks like a year, not a time; map a column of dates or times, or leave it out"
            )
        return self._refused(
            f"{self._value} is no time between {self.bounds.earliest:%Y-%m-%d} and today as s, ms, us or ns; map another "
            "column, set `earliest`, or say the unit, as `time: s`"
        )

    def _text_format(self, zone: str) -> TimeReading | Refusal:
        fitting = {one: count for one, count in (self.fitting or {}).items() if count}
        best = max(fitting.values(), default=0)
        if best < ENOUGH * self.texts and sum(fitting.values()) < ENOUGH * self.texts:
            return self._refused(
                f'{self._text!r} is a time in no known form; say it, as `time: "%d.%m.%Y %H:%M"`', self.first_text
            )
        orders = {
            order: max(count for one, count in fitting.items() if one.order == order) for order in {f.order for f in fitting}
        }
        day, month = orders.get("day", 0), orders.get("month", 0)
        if day == month == best == self.texts:
            return self._day_or_month(fitting)
        if day and month and max(day, month) < SETTLED * self.texts:
            return self._refused(
                f"{day:,} of {self.texts:,} dates such as {self._text!r} have the day first and {month:,} the month first; "
                "write all in one order",
                self.first_text,
            )
        order = max(orders, key=lambda one: orders[one])
        chosen = sorted((one for one in fitting if one.order == order), key=lambda one: -fitting[one])
        # A form of ISO 8601 that the first values do not show, such as a fraction of a second, may still come.
        others = [one for one in ISO if one not in chosen] if chosen[0] in ISO else []
        return TimeReading(formats=(*chosen, *others), zone=zone)

    def _day_or_month(self, fitting: dict[Format, int]) -> Refusal:
        month = max((one for one in fitting if one.order == "month"), key=lambda one: fitting[one])
        day = max((one for one in fitting if one.order == "day"), key=lambda one: fitting[one])
        return self._refused(
            f"{self._text!r} may have the day or the month first, as no date has a day after the 12th; say which, as "
            f'`time: "{month.shown}"` or `time: "{day.shown}"`',
            self.first_text,
        )

    @property
    def _value(self) -> str:
        return self.first.value if self.first else ""

    @property
    def _text(self) -> str:
        return self.first_text.value if self.first_text else self._value

    def _as_date(self, unit: str) -> str:
        return f"{datetime.fromtimestamp(float(self._value) * UNITS[unit] / 1e6, UTC):%Y-%m-%d}"

    def _refused(self, problem: str, where: Example | None = None) -> Refusal:
        where = where or self.first
        return Refusal(where.file if where else "", self.column, where.row if where else None, problem)
