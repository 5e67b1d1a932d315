"""An event id that stands in several rows is kept once; rows without an id get the same one at every reading."""

from __future__ import annotations

from pathlib import Path

from tests.own_files import event, own, read, write_csv, write_lines


def test_the_earliest_row_is_kept_whatever_its_day_and_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "events" / "1.jsonl", [event(1, day=4, post_id=8), event(2)])
    write_lines(tmp_path / "events" / "2.jsonl", [event(1, day=2, post_id=7), event(3)])
    adapter = own(tmp_path)
    good = read(adapter).good
    assert sorted(good["event_id"].to_list()) == ["e1", "e2", "e3"]
    assert good.filter(event_id="e1")["post_id"].to_list() == [7]
    assert adapter.counts.repeats == 1


def test_at_equal_times_the_first_in_the_files_is_kept(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1, post_id=3), event(1, post_id=4), event(1, post_id=2)])
    good = read(own(tmp_path)).good
    assert good["post_id"].to_list() == [3]


def test_a_broken_first_copy_does_not_displace_a_sound_second_one(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1, post_id=None), event(1, day=1), event(2)])
    adapter = own(tmp_path)
    split = read(adapter)
    assert sorted(split.good["event_id"].to_list()) == ["e1", "e2"] and split.dead.height == 1


def test_rows_without_an_id_get_the_same_id_at_every_reading_and_no_two_the_same(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "user_id,post_id,action,occurred_at\n" + "1,5,impression,2025-01-01\n" * 3)
    first = read(own(tmp_path)).good["event_id"].to_list()
    assert len(set(first)) == 3
    with (tmp_path / "events.csv").open("a") as file:
        file.write("2,5,click,2025-01-02\n")
    assert read(own(tmp_path)).good["event_id"].to_list()[:3] == first


def test_an_empty_id_among_others_is_made_and_a_blank_one_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1), event(2, event_id=None), event(3, event_id="  "), event(4)])
    split = read(own(tmp_path))
    assert split.good.height == 3 and split.good["event_id"].null_count() == 0
    assert "event_id is blank" in split.dead["reason"][0]


def test_nobody_looks_for_repeats_only_where_each_event_has_the_id_of_its_row(tmp_path: Path) -> None:
    rows = [event(1), event(2), event(3, action="click")]
    write_lines(tmp_path / "given" / "events.jsonl", rows)
    write_lines(tmp_path / "some" / "events.jsonl", [*rows, event(4, event_id=None)])
    write_lines(tmp_path / "none" / "events.jsonl", [{**row, "event_id": None} for row in rows])
    write_lines(tmp_path / "derived" / "events.jsonl", [event(1, action="click")])
    write_lines(tmp_path / "wide" / "events.jsonl", rows)
    wide = own(tmp_path / "wide", {"events": {"impressions": "rows"}})
    assert [own(tmp_path / name).distinct_ids for name in ("given", "some", "none", "derived")] == [True, False, False, False]
    assert not wide.distinct_ids
