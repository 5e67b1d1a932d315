"""Whatever type a column of your files has, it is refused by name or read without loss, never a third thing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.datasets.own.event_rows import cast_number
from feature_repo.datasets.own.id_columns import IdCheck, IdNumbers, IdReading, id_faults
from feature_repo.datasets.own.lists import NoList, encoded, names_of
from feature_repo.datasets.own.mapping import TimeMapping
from feature_repo.datasets.own.reader import RawBatch
from feature_repo.datasets.own.refusal import Refusal
from feature_repo.datasets.own.times import Bounds, TimeCheck
from feature_repo.ids import FIRST_ALLOTTED, IdTable, whole_numbers

FAST = settings(deadline=None, suppress_health_check=list(HealthCheck))
BOUNDS = Bounds.of(date(1990, 1, 1), datetime(2025, 6, 1, tzinfo=UTC))


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

moments = st.datetimes(datetime(1991, 1, 1), datetime(2025, 5, 1), timezones=st.just(UTC))
number_texts = st.from_regex(r"[+-]?0?[0-9]{1,20}(\.[0-9]{1,3})?(e[0-9])?", fullmatch=True)
texts = st.one_of(st.text(max_size=12), number_texts, st.sampled_from(["true", "false", "007", " 7", "nan", "1e400", "é"]))
cells = {
    pl.Int8: st.integers(-128, 127),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Float32: st.floats(width=32),
    pl.Float64: st.one_of(st.floats(), st.integers(-(2**54), 2**54).map(float)),
    pl.Boolean: st.booleans(),
    pl.String: texts,
    pl.Date: st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    pl.Datetime("us"): moments.map(lambda moment: moment.replace(tzinfo=None)),
    pl.Duration("us"): st.timedeltas(timedelta(0), timedelta(days=9)),
    pl.Time: st.times(),
    pl.Binary: st.binary(max_size=4),
    pl.Decimal(20, 2): st.decimals(-1000, 1000, places=2),
    pl.List(pl.Int64): st.lists(st.integers(0, 9), max_size=3),
    pl.List(pl.String): st.lists(st.text(max_size=3), max_size=3),
    pl.Struct({"a": pl.Int64}): st.fixed_dictionaries({"a": st.integers(0, 9)}),
}


@st.composite
def columns(draw: st.DrawFn) -> pl.Series:
    """A column of 1 to 6 cells of any type, some of them null."""
    kind = draw(st.sampled_from(list(cells)))
    values = draw(st.lists(st.one_of(st.none(), cells[kind]), min_size=1, max_size=6))
    return pl.Series("theirs", values, kind, strict=False)


def batch_of(values: pl.Series) -> RawBatch:
    return RawBatch("file", values.to_frame(), pl.int_range(1, values.len() + 1, eager=True))


def as_id(value: object) -> str:
    """The only text that a cell may stand for as an id."""
    if isinstance(value, float | Decimal):
        return str(int(value))
    return str(value)


@settings(FAST, max_examples=700)
@given(columns())
def test_a_column_of_ids_is_refused_by_name_or_every_id_comes_back(values: pl.Series) -> None:
    check = IdCheck("theirs")
    check.add(values, None, batch_of(values))
    reading = check.decide()
    if isinstance(reading, Refusal):
        assert reading.column == "theirs" and reading.problem
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
            assert given_ is None or not str(given_).strip() or "\0" in str(given_)
        elif reading.floats and not str(given_).lstrip("+-").isdigit():
            assert float(given_) == int(shown)
        else:
            assert shown == as_id(given_)
    kept = back.drop_nulls()
    assert kept.n_unique() == numbers.drop_nulls().n_unique()


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
    times = reading.times(values)
    assert times.dtype == pl.Datetime("us", "UTC") and times.len() == values.len()
    for given_, at in zip(values, times, strict=True):
        if isinstance(given_, datetime):
            assert at == given_.replace(tzinfo=UTC)
        elif isinstance(given_, date):
            assert at.date() == given_
        elif isinstance(given_, int) and at is not None and reading.unit is not None:
            size = {"s": 10**6, "ms": 10**3, "us": 1}.get(reading.unit)
            exact = given_ // 1_000 if size is None else given_ * size
            assert at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=exact)


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


@settings(FAST, max_examples=300)
@given(columns())
def test_a_column_of_names_is_refused_or_every_name_comes_back(values: pl.Series) -> None:
    try:
        lists = names_of(values)
    except NoList as refused:
        assert str(refused)
        return
    codes = encoded(lists, "topic", IDS.table)
    assert codes.len() == values.len() and codes.null_count() == 0
    back = IDS.table.names("topic", codes.explode().drop_nulls())
    assert back.to_list() == lists.explode().drop_nulls().to_list()
    if values.dtype.is_integer():
        assert back.to_list() == [str(value) for value in values if value is not None]


@settings(FAST, max_examples=300)
@given(columns(), st.sampled_from([pl.Int32(), pl.Int64(), pl.Float64()]))
def test_a_column_of_numbers_keeps_every_value_or_says_which_it_lost(values: pl.Series, kind: pl.DataType) -> None:
    numbers, lost = cast_number(values, kind)
    for given_, number, gone in zip(values, numbers, lost, strict=True):
        if gone or given_ is None or number is None:
            assert gone or given_ is None or not str(given_).strip()
        elif isinstance(given_, int | float | Decimal) and not isinstance(given_, bool):
            assert number == given_ if kind.is_integer() else float(number) == float(given_)
