"""Times of every usual form are read from whole columns; what may be read in two ways is refused with the remedy."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.check import check
from tests.own_files import event, events_of, own, read, write_csv, write_lines

AT = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
SECONDS = int(AT.timestamp())


def times(tmp_path: Path, values: list, **mapping: object) -> list[datetime]:
    adapter = own(events_of(tmp_path, "occurred_at", values), mapping or None)
    return read(adapter).good["occurred_at"].to_list()


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        SECONDS * 1_000_000_000,
        str(SECONDS),
        str(SECONDS * 1_000),
        float(SECONDS),
        f"{SECONDS}.0",
        "2025-03-04T05:06:07Z",
        "2025-03-04 05:06:07",
        "2025-03-04T07:06:07+02:00",
        "2025-03-04 05:06:07 UTC",
        "2025-03-04T05:06:07.000",
        "2025/03/04 05:06:07",
        "Tue Mar 04 05:06:07 +0000 2025",
        "Tue, 04 Mar 2025 05:06:07 +0000",
        "04/Mar/2025:05:06:07 +0000",
        "20250304050607",
        AT,
        AT.replace(tzinfo=None),
    ],
    ids=str,
)
def test_a_usual_form_is_read_without_a_mapping(tmp_path: Path, value: object) -> None:
    assert times(tmp_path, [value, value]) == [AT, AT]


def test_fractions_of_seconds_are_kept_to_the_microsecond(tmp_path: Path) -> None:
    assert times(tmp_path / "a", [SECONDS + 0.25]) == [AT.replace(microsecond=250_000)]
    assert times(tmp_path / "b", [SECONDS * 1_000_000 + 1]) == [AT.replace(microsecond=1)]
    assert times(tmp_path / "c", ["2025-03-04T05:06:07.000001"]) == [AT.replace(microsecond=1)]


def test_dates_and_numbers_as_dates_are_midnights(tmp_path: Path) -> None:
    midnight = datetime(2025, 3, 4, tzinfo=UTC)
    for place, value in enumerate(["2025-03-04", 20250304, "20250304", date(2025, 3, 4), "Mar 04, 2025"]):
        assert times(tmp_path / str(place), [value]) == [midnight]


def test_data_of_1997_is_fine_and_older_data_needs_one_setting(tmp_path: Path) -> None:
    assert times(tmp_path / "a", [881250949])[0].year == 1997
    with pytest.raises(MalformedFile, match="earliest"):
        times(tmp_path / "b", ["1980-01-01", "1980-01-02"])
    assert times(tmp_path / "c", ["1980-01-01", "1980-01-02"], earliest="1970-01-01")[0].year == 1980


def test_a_year_is_no_time(tmp_path: Path) -> None:
    for place, values in enumerate([[1995, 1996], ["1995", "2003"]]):
        with pytest.raises(MalformedFile, match="column 'occurred_at', row 1: 1995 looks like a year"):
            times(tmp_path / str(place), values)


def test_numbers_that_are_no_times_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="12 is no time between 1990-01-01 and today"):
        times(tmp_path, [12, 7, 90])


def test_two_units_in_one_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="more than one unit: 1 as seconds, 2 as milliseconds"):
        times(tmp_path, [SECONDS, SECONDS * 1_000, SECONDS * 1_000])


def test_a_unit_that_may_be_two_is_refused_and_the_mapping_decides(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="may be s .*say which, as `time: s`"):
        times(tmp_path / "a", [SECONDS], earliest="1970-01-01")
    assert times(tmp_path / "b", [SECONDS], earliest="1970-01-01", events={"time": "s"}) == [AT]


def test_a_date_with_day_or_month_first_is_refused_with_the_remedy(tmp_path: Path) -> None:
    values = ["11/05/2025 21:03:00", "11/10/2025 03:00:00"]
    with pytest.raises(MalformedFile, match='say which, as `time: "%m/%d/%Y %H:%M:%S"` or `time: "%d/%m/%Y %H:%M:%S"`'):
        times(tmp_path / "a", values)
    found = times(tmp_path / "b", ["03/05/2025 21:03:00", "03/10/2025 03:00:00"], events={"time": "%m/%d/%Y %H:%M:%S"})
    assert [(one.month, one.day) for one in found] == [(3, 5), (3, 10)]


def test_one_date_after_the_twelfth_settles_the_whole_column(tmp_path: Path) -> None:
    found = times(tmp_path / "a", ["03/05/2025 21:03:00", "03/13/2025 03:00:00"])
    assert [(one.month, one.day) for one in found] == [(3, 5), (3, 13)]
    found = times(tmp_path / "b", ["05.03.2025", "13.03.2025"])
    assert [(one.month, one.day) for one in found] == [(3, 5), (3, 13)]


def test_dates_in_both_orders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="1 of 2 dates such as .* have the day first and 1 the month first"):
        times(tmp_path, ["03/13/2025", "13/03/2025"])


def test_a_row_of_2106_goes_to_the_dead_letters_and_does_not_end_the_days(tmp_path: Path) -> None:
    for place, late in enumerate([[4294967295, *[SECONDS] * 3], ["2106-02-07T06:28:15Z", *["2025-03-04"] * 3]]):
        adapter = own(events_of(tmp_path / str(place), "occurred_at", late))
        split = read(adapter)
        assert split.good.height == 3
        assert split.dead["reason"][0].startswith("occurred_at is in the future, ")
        assert split.dead["source_value"].to_list() == [str(late[0])]


def test_a_missing_time_written_as_zero_is_a_dead_row(tmp_path: Path) -> None:
    split = read(own(events_of(tmp_path, "occurred_at", [0, SECONDS, SECONDS])))
    assert split.good.height == 2
    assert "is before 1990-01-01" in split.dead["reason"][0]


def test_a_zone_is_applied_to_times_that_name_none(tmp_path: Path) -> None:
    mapping = {"time": {"format": "auto", "zone": "Europe/Paris"}}
    assert times(tmp_path / "a", ["2025-03-04 06:06:07"], events=mapping) == [AT]
    assert times(tmp_path / "b", ["2025-03-04T05:06:07Z"], events=mapping) == [AT]
    assert times(tmp_path / "c", [AT.replace(tzinfo=None, hour=6)], events=mapping) == [AT]


def test_an_hour_that_the_clock_skipped_is_a_dead_row(tmp_path: Path) -> None:
    mapping = {"events": {"time": {"format": "auto", "zone": "Europe/Paris"}}}
    adapter = own(events_of(tmp_path, "occurred_at", ["2025-03-30 02:30:00", "2025-03-30 04:30:00"]), mapping)
    dead = read(adapter).dead
    assert dead["reason"].to_list() == [
        "occurred_at does not exist in Europe/Paris, where the clock was put forward: correct it, or write it in UTC"
    ]
    native = events_of(tmp_path / "native", "occurred_at", [datetime(2025, 3, 30, 2, 30), datetime(2025, 3, 30, 4, 30)])
    assert read(own(native, mapping)).dead["reason"].to_list() == dead["reason"].to_list()


def test_columns_that_hold_no_times_are_refused_by_name(tmp_path: Path) -> None:
    for place, values in enumerate([[True, False], [[1], [2]], ["soon", "later"], [float(2**60), float(2**60)]]):
        with pytest.raises(MalformedFile, match="column 'occurred_at', row 1"):
            times(tmp_path / str(place), values)


def test_csv_and_json_read_times_as_parquet_does(tmp_path: Path) -> None:
    write_csv(tmp_path / "a" / "events.csv", f"user_id,post_id,action,occurred_at\n1,2,impression,{SECONDS * 1000}\n")
    write_lines(tmp_path / "b" / "events.jsonl", [event(1, occurred_at=SECONDS * 1_000)])
    for folder in ("a", "b"):
        assert read(own(tmp_path / folder)).good["occurred_at"].to_list() == [AT]


def test_numbers_too_large_for_a_time_are_dead_rows(tmp_path: Path) -> None:
    split = read(own(events_of(tmp_path, "occurred_at", [2**62, SECONDS, SECONDS])))
    assert (split.good.height, split.dead.height) == (2, 1)


def test_every_row_keeps_its_time_beside_its_neighbours(tmp_path: Path) -> None:
    frame = pl.DataFrame([event(place) for place in range(4)]).with_columns(
        occurred_at=pl.Series(["2025-03-04", "2025-03-04T05:06", "2025-03-04T05:06:07.5", "2025-03-04 05:06:07+00:00"])
    )
    frame.write_parquet(tmp_path / "events.parquet")
    found = read(own(tmp_path)).good["occurred_at"].to_list()
    assert [one.strftime("%H:%M:%S.%f") for one in found] == [
        "00:00:00.000000",
        "05:06:00.000000",
        "05:06:07.500000",
        "05:06:07.000000",
    ]


@pytest.mark.parametrize(
    "kind", [pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Date], ids=["us", "ms", "zoned", "date"]
)
@pytest.mark.parametrize("end", ["first", "last"])
def test_a_time_beyond_the_calendar_is_one_row_left_out(tmp_path: Path, kind: pl.DataType, end: str) -> None:
    """As sentinels are stored: the smallest or the largest number of the type."""
    bits = 31 if kind == pl.Date else 63
    odd = -(2**bits) if end == "first" else 2**bits - 1
    days = pl.Series("occurred_at", [date(2025, 1, 1 + day) for day in range(9)], pl.Date).cast(kind)
    numbers = pl.concat([days.to_physical(), pl.Series("occurred_at", [odd], days.to_physical().dtype)])
    rows = pl.DataFrame([event(n) for n in range(10)]).with_columns(numbers.cast(kind))
    rows.write_parquet(tmp_path / "events.parquet")
    found = read(own(tmp_path))
    assert found.good.height == 9
    assert found.dead["event_id"].to_list() == ["e9"]
    assert check(tmp_path).refusals == []


def test_a_unit_that_the_values_gainsay_is_refused_with_the_one_that_they_have(tmp_path: Path) -> None:
    rows = [event(n, occurred_at=1_735_732_800_000 + n) for n in range(20)]
    write_lines(tmp_path / "events.jsonl", rows)
    (tmp_path / "mapping.yaml").write_text("events: {time: s}")
    (refusal,) = check(tmp_path).refusals
    assert "as which 1735732800000 is no time of this log; as ms it is 2025-01-01: say `time: ms`" in refusal


def test_timestamps_in_one_file_and_numbers_or_text_in_another_are_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame([event(n) for n in range(4)]).with_columns(pl.col("occurred_at").str.to_datetime(time_zone="UTC"))
    for other, kind in (("numbers", pl.Int64), ("text", pl.String)):
        folder = tmp_path / other / "events"
        folder.mkdir(parents=True)
        frame.write_parquet(folder / "a.parquet")
        frame.with_columns(pl.col("occurred_at").dt.epoch("ms").cast(kind)).write_parquet(folder / "b.parquet")
        (refusal,) = check(tmp_path / other).refusals
        assert "4 values are timestamps and 4 are numbers or text; store all as one type" in refusal


def test_a_parquet_duration_is_refused_by_its_type(tmp_path: Path) -> None:
    frame = pl.DataFrame([event(n, action="dwell") for n in range(4)]).with_columns(value=pl.duration(seconds=pl.int_range(4)))
    frame.write_parquet(tmp_path / "events.parquet")
    (refusal,) = check(tmp_path).refusals
    assert "column 'value'" in refusal and "duration[us]; store it as a number of milliseconds" in refusal
