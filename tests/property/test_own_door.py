"""Whatever type a column of your files has, it is refused by name or read without loss, never a third thing."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.datasets.own.event_rows import believed_times
from feature_repo.datasets.own.id_columns import IdCheck, IdNumbers, IdReading, id_faults
from feature_repo.datasets.own.lists import NoList, encoded, names_of
from feature_repo.datasets.own.mapping import TimeMapping
from feature_repo.datasets.own.number_columns import cast_number
from feature_repo.datasets.own.reader import RawBatch
from feature_repo.datasets.own.reasons import Reasons
from feature_repo.datasets.own.refusal import Refusal
from feature_repo.datasets.own.time_formats import ISO
from feature_repo.datasets.own.times import Bounds, TimeCheck, TimeReading
from feature_repo.ids import FIRST_ALLOTTED, IdTable, whole_numbers

FAST = settings(deadline=None, suppress_health_check=list(HealthCheck))
BOUNDS = Bounds.of(date(1990, 1, 1), datetime(2025, 6, 1, tzinfo=UTC))


def hundredths(number: int) -> Decimal:
    """`number` hundredths, exactly."""
    return Decimal(number).scaleb(-2)


class MemoryIds(IdTable):
    """Ids kept in memory, as thousands of cases would wait for a disk. Which text is its own number stays IdTable's rule."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self._apart = False
        self._held: dict[str, int] = {}
        self._coded: dict[str, int] = {}

    def numbers(self, kind: str, texts: pl.Series) -> pl.Series:
        own = whole_numbers(texts)
        pairs = zip(own, texts, strict=True)
        given = [self._held.setdefault(text, FIRST_ALLOTTED + len(self._held)) if n is None else n for n, text in pairs]
        return pl.Series(texts.name, given, pl.Int64)

    def texts(self, kind: str, numbers: pl.Series) -> pl.Series:
        by_number = {number: text for text, number in self._held.items()}
        shown = [None if n is None else by_number.get(n, str(n)) for n in numbers]
        return pl.Series(numbers.name, shown, pl.String)

    def codes(self, kind: str, names: pl.Series) -> pl.Series:
        return pl.Series([self._coded.setdefault(name, len(self._coded)) for name in names], dtype=pl.Int32)

    def names(self, kind: str, codes: pl.Series) -> pl.Series:
        by_code = list(self._coded)
        return pl.Series([by_code[code] for code in codes], dtype=pl.String)


IDS = IdNumbers(MemoryIds())

WHITE = " \t\n\x0b\x0c\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
ISO_TEXT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{6})?)?(Z|\+\d\d:\d\d)?)?")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = {"s": Fraction(10**6), "ms": Fraction(10**3), "us": Fraction(1), "ns": Fraction(1, 1000)}
NO_NAMES = (pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.Binary, pl.Struct)

moments = st.datetimes(datetime(1991, 1, 1), datetime(2025, 5, 1), timezones=st.just(UTC))
any_moments = st.one_of(moments, st.datetimes(datetime(1950, 1, 1), datetime(2120, 1, 1), timezones=st.just(UTC)))
forms = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S+02:00",
)
time_texts = st.tuples(any_moments, st.sampled_from(forms)).map(lambda drawn: drawn[0].strftime(drawn[1]))
number_texts = st.from_regex(r"[+-]?0?[0-9]{1,20}(\.[0-9]{1,3})?(e[0-9])?", fullmatch=True)
texts = st.one_of(st.text(max_size=12), number_texts, st.sampled_from(["true", "false", "007", " 7", "nan", "1e400", "é"]))
edges = st.one_of(*(st.integers(2**bits - 3, 2**bits + 3) for bits in (24, 53, 62)))  # where floats and ids end
floats = st.one_of(st.floats(), st.integers(-(2**54), 2**54).map(float), edges.map(float))
cells = [
    (pl.Int8, st.integers(-128, 127)),
    (pl.Int64, st.one_of(st.integers(-(2**63), 2**63 - 1), edges)),
    (pl.Int64, moments.map(lambda moment: int(moment.timestamp() * 1000))),
    (pl.UInt64, st.integers(0, 2**64 - 1)),
    (pl.Float32, st.floats(width=32)),
    (pl.Float64, floats),
    (pl.Float64, any_moments.map(datetime.timestamp)),
    (pl.Boolean, st.booleans()),
    (pl.String, texts),
    (pl.String, st.one_of(edges.map(str), edges.map("{}.0".format), edges.map("{}.25".format), number_texts)),
    (pl.String, time_texts),
    (pl.Date, st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    (pl.Datetime("us"), any_moments.map(lambda moment: moment.replace(tzinfo=None))),
    (pl.Duration("us"), st.timedeltas(timedelta(0), timedelta(days=9))),
    (pl.Time, st.times()),
    (pl.Binary, st.binary(max_size=4)),
    (pl.Decimal(38, 0), st.one_of(st.integers(1 - 10**38, 10**38 - 1), edges).map(Decimal)),
    (pl.Decimal(38, 2), st.one_of(st.integers(-(10**5), 10**5), edges.map(lambda number: number * 100)).map(hundredths)),
    (pl.List(pl.Int64), st.lists(st.integers(0, 9), max_size=3)),
    (pl.List(pl.String), st.lists(st.text(max_size=3), max_size=3)),
    (pl.List(pl.Decimal(38, 0)), st.lists(edges.map(Decimal), max_size=3)),
    (pl.Struct({"a": pl.Int64}), st.fixed_dictionaries({"a": st.integers(0, 9)})),
]


@st.composite
def columns(draw: st.DrawFn) -> pl.Series:
    """A column of 1 to 6 cells of any type, some of them null."""
    kind, values = draw(st.sampled_from(cells))
    return pl.Series("theirs", draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=6)), kind, strict=False)


words = st.text("abc é'", min_size=1, max_size=4).map(lambda word: f"a{word}z")
plain_words = st.text("abcé", min_size=1, max_size=4)
phrases = st.one_of(words, words.map("{}, and".format))


@st.composite
def spelled_lists(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A cell of text that holds a list, in one of the ways in which lists are written, and its names."""
    way = draw(st.sampled_from(["json", "numbers", "python", "bare", "bars", "torn"]))
    if way == "json":
        names = draw(st.lists(phrases, max_size=3))
        return json.dumps(names, ensure_ascii=draw(st.booleans())), names
    if way == "numbers":
        numbers = draw(st.lists(edges, min_size=1, max_size=3))
        return json.dumps(numbers), [str(number) for number in numbers]
    if way == "python":
        names = draw(st.lists(plain_words.map("{}, or".format), min_size=1, max_size=3))
        return repr(names), names
    names = draw(st.lists(plain_words, min_size=1, max_size=3))
    return {"bare": f"[{', '.join(names)}]", "bars": " | ".join(names), "torn": f"['{', '.join(names)}]"}[way], names


def batch_of(values: pl.Series) -> RawBatch:
    return RawBatch("file", values.to_frame(), pl.int_range(1, values.len() + 1, eager=True))


def exact(value: object) -> Decimal | None:
    """The number that a cell holds, to the last digit; None where it holds none."""
    if isinstance(value, str):
        return Decimal(value.strip(WHITE)) if NUMBER.fullmatch(value.strip(WHITE)) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def number_name(value: float | Decimal) -> str:
    """A number as a name: without a point where it is whole."""
    if isinstance(value, Decimal):
        digits = f"{value:f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else str(value)


@pytest.mark.slow
@settings(FAST, max_examples=700)
@given(columns())
def test_a_column_of_ids_is_refused_by_name_or_every_id_comes_back(values: pl.Series) -> None:
    check = IdCheck("theirs")
    check.add(values, None, batch_of(values))
    reading = check.decide()
    if isinstance(reading, Refusal):
        assert reading.column == "theirs" and reading.problem
        if values.dtype.is_integer() or values.dtype.is_decimal():  # nothing but a fraction is refused
            assert any(value is not None and exact(value) != int(value) for value in values)
        return
    assert isinstance(reading, IdReading)
    ids = reading.texts(values)
    faults = id_faults(ids)
    ids = ids if faults is None else ids.set(faults.is_not_null(), None)
    numbers = IDS.numbers("user", ids)
    assert numbers.null_count() == ids.null_count()
    back = IDS.table.texts("user", numbers)
    for given_, shown in zip(values, back, strict=True):
        if shown is None:  # a row without an id goes to the dead letters
            assert given_ is None or not str(given_).strip(WHITE) or "\0" in str(given_)
        elif isinstance(given_, float | Decimal) or (reading.floats and not str(given_).lstrip("+-").isdigit()):
            assert exact(given_) == int(shown) and shown == str(int(shown))
        else:
            assert shown == str(given_)
    kept = back.drop_nulls()
    assert kept.n_unique() == numbers.drop_nulls().n_unique()


@pytest.mark.slow
@settings(FAST, max_examples=500)
@given(columns())
def test_a_column_of_times_is_refused_by_name_or_read_within_its_bounds(values: pl.Series) -> None:
    check = TimeCheck("theirs", TimeMapping(), BOUNDS)
    check.add(values, batch_of(values))
    reading = check.decide()
    if reading is None:
        return  # not one value
    if isinstance(reading, Refusal):
        assert reading.column == "theirs" and reading.problem
        return
    reasons = Reasons(values.len())
    times = believed_times(values, "theirs", reading, BOUNDS, reasons)
    assert times.dtype == pl.Datetime("us", "UTC") and times.len() == values.len()
    for given_, at, believed in zip(values, times, reasons.open(), strict=True):
        if at is None:
            assert not believed
            assert reading.formats != ISO or not isinstance(given_, str) or not ISO_TEXT.fullmatch(given_)
        else:
            assert believed == (BOUNDS.earliest <= at <= BOUNDS.latest)
            assert is_time_of(given_, at, reading)


def is_time_of(given_: object, at: datetime, reading: TimeReading) -> bool:
    """Whether a cell may stand for the moment `at`, computed without the reader."""
    if isinstance(given_, datetime):
        return at == given_.replace(tzinfo=UTC)
    if isinstance(given_, date):
        return at == datetime(given_.year, given_.month, given_.day, tzinfo=UTC)
    if reading.unit is None:
        return at in {moment for one in reading.formats for moment in read_by(str(given_).strip(WHITE), one.pattern)}
    wanted = Fraction(exact(given_)) * MICROSECONDS[reading.unit]
    found = (at - EPOCH) // timedelta(microseconds=1)
    whole = isinstance(given_, int) or (isinstance(given_, str) and given_.strip(WHITE).lstrip("+-").isdigit())
    return found == math.floor(wanted) if whole else abs(found - wanted) <= 1 + abs(wanted) / 2**52


def read_by(text: str, pattern: str) -> list[datetime]:
    """The moments that Python reads by a pattern, with and without a fraction of a second."""
    found = []
    for fraction in (".%f", ""):
        with suppress(ValueError):
            moment = datetime.strptime(text, pattern.replace("%.f", fraction).replace("%#z", "%z"))
            found.append(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return found


@settings(FAST, max_examples=200)
@given(
    st.lists(moments, min_size=1, max_size=5), st.sampled_from(["s", "ms", "us", "ns", "iso", "%d/%m/%Y %H:%M:%S", "native"])
)
def test_times_written_in_any_form_come_back(written: list[datetime], form: str) -> None:
    written = [moment.replace(microsecond=0) for moment in written]
    size = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    if form in size:
        values = pl.Series("t", [int(moment.timestamp()) * size[form] for moment in written])
    elif form == "native":
        values = pl.Series("t", written)
    else:
        values = pl.Series("t", [moment.isoformat() if form == "iso" else moment.strftime(form) for moment in written])
    check = TimeCheck("t", TimeMapping(), BOUNDS)
    check.add(values, batch_of(values))
    reading = check.decide()
    if isinstance(reading, Refusal):
        assert "%" in form and "day or the month" in reading.problem and all(moment.day <= 12 for moment in written)
        return
    assert reading.times(values).to_list() == written


def plain_names(value: object) -> list[str]:
    """The names in a cell of a column that holds no text."""
    if isinstance(value, list):
        return [name for one in value for name in plain_names(one)]
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, float | Decimal):
        return [number_name(value)]
    return [] if value is None else [name for name in [str(value).strip(WHITE)] if name]


def same_names(found: list[str], wanted: list[str]) -> bool:
    """Whether the names are those; floats are compared as numbers, since there is more than one shortest way to write some."""
    return found == wanted or (len(found) == len(wanted) == 1 and repr(float(found[0])) == repr(float(wanted[0])))


@pytest.mark.slow
@settings(FAST, max_examples=300)
@given(st.one_of(columns(), st.lists(spelled_lists(), min_size=1, max_size=6)))
def test_a_column_of_names_is_refused_or_every_name_comes_back(drawn: pl.Series | list[tuple[str, list[str]]]) -> None:
    spelled = isinstance(drawn, list)
    values = pl.Series("theirs", [text for text, _ in drawn]) if spelled else drawn
    try:
        lists = names_of(values)
    except NoList as refused:
        assert str(refused) and isinstance(values.dtype, NO_NAMES)
        return
    codes = encoded(lists, "topic", IDS.table)
    assert codes.len() == values.len() and codes.null_count() == 0
    back = [IDS.table.names("topic", row).to_list() for row in codes]
    for place, (value, names) in enumerate(zip(values.to_list(), back, strict=True)):
        if spelled:
            assert names == drawn[place][1]
        elif not isinstance(value, str):
            assert same_names(names, plain_names(value)) if isinstance(value, float) else names == plain_names(value)
        elif not (value.strip(WHITE).startswith("[") and value.strip(WHITE).endswith("]")):
            assert names == [part.strip(WHITE) for part in value.split("|") if part.strip(WHITE)]


@pytest.mark.slow
@settings(FAST, max_examples=300)
@given(columns(), st.sampled_from([pl.Int32(), pl.Int64(), pl.Float32(), pl.Float64()]))
def test_a_column_of_numbers_keeps_every_value_or_says_which_it_lost(values: pl.Series, kind: pl.DataType) -> None:
    numbers, lost = cast_number(values, kind)
    for given_, number, gone in zip(values, numbers, lost, strict=True):
        if given_ is None or (isinstance(given_, str) and not given_.strip(WHITE)):
            assert number is None and not gone
            continue
        wanted = exact(given_)
        if kind.is_integer():
            end = 2 ** (31 if kind == pl.Int32() else 63)
            fits = wanted is not None and -end <= wanted < end and wanted == int(wanted)
        else:
            fits = wanted is not None and keeps_digits(given_, wanted, np.float32 if kind == pl.Float32() else np.float64)
        assert gone != fits
        if fits:
            assert number == wanted if kind.is_integer() else is_nearest(number, wanted, kind)


def keeps_digits(given_: object, wanted: Decimal, float_: type[np.floating]) -> bool:
    """Whether a float of this type holds the number: finite, and from the first whole number that has none on, exactly."""
    with np.errstate(over="ignore"):
        nearest = float(float_(wanted))
    if not math.isfinite(nearest):
        return False
    exponent = isinstance(given_, str) and "e" in given_.lower()
    return exponent or abs(nearest) < {np.float32: 2**24, np.float64: 2**53}[float_] or Decimal(nearest) == wanted


def is_nearest(number: float, wanted: Decimal, kind: pl.DataType) -> bool:
    """Whether no float of this type is nearer to the number."""
    spacing = float(np.spacing(np.float32(abs(number)) if kind == pl.Float32() else np.float64(abs(number))))
    return abs(Fraction(number) - Fraction(wanted)) <= Fraction(spacing) / 2 * Fraction(1001, 1000)
