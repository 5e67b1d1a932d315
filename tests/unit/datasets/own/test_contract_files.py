"""A folder of files in the contracts' columns is a dataset, without a mapping."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from feature_repo.contracts import check_table
from feature_repo.datasets.adapter import DatasetNotFound, MalformedFile, open_adapter
from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.world import World, WorldConfig
from feature_repo.lake import Lake
from infra.settings import Settings
from tests.own_files import START, event, events_of, own, read, write_lines

DAYS = [event(day, day) for day in range(6)]


def test_events_alone_are_enough_and_posts_and_users_follow_from_them(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", DAYS)
    tables = own(tmp_path).tables()
    for name in ("events", "posts", "users"):
        check_table(name, getattr(tables, name))
    assert tables.posts.select("post_id", "author_id", "created_at").row(0) == (5, 9, START)
    assert tables.users.select("user_id", "created_at").row(0) == (1, START)
    assert tables.edges is None and tables.malformed.is_empty()


def test_given_posts_and_users_are_kept_and_those_they_lack_are_added(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [*DAYS, event(9, user_id=2, post_id=6, author_id=8)])
    write_lines(tmp_path / "posts.jsonl", [{"post_id": 5, "topics": ["news"], "text": "a post"}])
    write_lines(tmp_path / "users.jsonl", [{"user_id": 1, "language": "fr"}, {"user_id": 7}])
    tables = own(tmp_path).tables()
    assert tables.posts.sort("post_id").select("post_id", "text").rows() == [(5, "a post"), (6, None)]
    assert tables.posts["created_at"].to_list() == [START, START]
    assert tables.users["user_id"].sort().to_list() == [1, 2, 7]


def test_parquet_tables_with_a_declared_graph_come_through_unchanged(tmp_path: Path) -> None:
    world = World(WorldConfig(users=40, posts=60, days=5))
    given = {"events": world.history_events(), "posts": world.posts(), "users": world.users(), "edges": world.edges()}
    for name, table in given.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
    adapter = own(tmp_path)
    tables = adapter.tables()
    for name, table in given.items():
        read = getattr(tables, name)
        if name == "posts":  # topics are names, whatever they are written as: their codes are the dataset's own
            names = adapter.ids.names("topic", read["topics"].explode())
            assert names.cast(pl.Int32).to_list() == table["topics"].explode().to_list()
            read = read.with_columns(table["topics"])
        assert check_table(name, read).equals(check_table(name, table)), name


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "jsonl.gz", "csv.gz", "csv.zst", "jsonl.zst", "parquet"])
def test_every_format_says_the_same(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame([*DAYS, event(7, action="click")])
    file = tmp_path / f"events.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(file)
    else:
        text = frame.write_csv(separator="\t" if suffix == "tsv" else ",") if "jsonl" not in suffix else frame.write_ndjson()
        _write(file, text.encode())
    good = read(own(tmp_path)).good.sort("event_id")
    assert good.select("event_id", "user_id", "action", "product").equals(
        frame.sort("event_id").select("event_id", "user_id", "action", "product")
    )
    assert good["occurred_at"][0] == START


def _write(file: Path, content: bytes) -> None:
    import pyarrow as pa

    kind = {".gz": "gzip", ".zst": "zstd"}.get(file.suffix)
    with pa.output_stream(str(file), compression=kind) as stream:
        stream.write(content)


def test_a_folder_of_files_is_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    for day in range(3):
        write_lines(tmp_path / "events" / f"day-{day}.jsonl", [event(day, day)])
    assert read(own(tmp_path)).good["event_id"].to_list() == ["e0", "e1", "e2"]


def test_files_of_two_formats_for_one_table_are_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "events" / "a.jsonl", DAYS)
    pl.DataFrame(DAYS).write_parquet(tmp_path / "events" / "b.parquet")
    with pytest.raises(MalformedFile, match="two formats"):
        read(own(tmp_path))


def test_a_row_that_breaks_a_rule_goes_to_the_dead_letters_with_its_place(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [*DAYS, event(90, 1, action="poke"), event(91, 1, user_id=None)])
    split = read(own(tmp_path))
    assert split.good.height == 6
    assert split.dead.select("event_id", "source_file", "source_row").rows() == [
        ("e90", "events.jsonl", 7),
        ("e91", "events.jsonl", 8),
    ]
    assert split.dead.select("source_column", "source_value").row(0) == ("action", "poke")
    assert split.dead["reason"][0].startswith("action is not mapped")
    assert "user_id is empty" in split.dead["reason"][1]
    assert '"user_id":null' in split.dead["raw"][1].replace(" ", "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"occurred_at": "some day"}, "occurred_at is no time as ISO 8601"),
        ({"value": "much"}, "value is no number"),
        ({"value": "9007199254740993"}, "value is no number that fits"),
        ({"position": 1.5}, "position is no whole number"),
        ({"position": 3_000_000_000}, "position is no whole number that fits"),
        ({"propensity": 2}, "propensity is outside"),
        ({"event_id": " "}, "event_id is blank"),
        ({"product": ""}, "surface is empty"),
        ({"product": "x" * 65}, "has more than 64 characters"),
        ({"user_id": " "}, "user_id is empty"),
        ({"user_id": "a\0b"}, "NUL character"),
        ({"action": "dwell", "value": -5}, "value is negative"),
    ],
)
def test_a_cell_that_can_not_be_read_is_named(tmp_path: Path, change: dict, told: str) -> None:
    write_lines(tmp_path / "events.jsonl", [*DAYS, event(6, 2, **change)])
    split = read(own(tmp_path))
    assert split.good.height == 6
    assert told in split.dead["reason"][0]


@pytest.mark.parametrize("column", ["event_id", "action", "product", "request_id", "release"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a"], ids=str)
def test_a_column_that_is_to_be_text_and_holds_none_is_refused_by_name(tmp_path: Path, column: str, value: object) -> None:
    with pytest.raises(MalformedFile, match=f"column '{column}': is of type"):
        read(own(events_of(tmp_path, column, [value])))


def test_a_line_that_is_no_row_of_a_csv_file_is_named_and_later_rows_keep_their_numbers(tmp_path: Path) -> None:
    lines = ["user_id,post_id,action,occurred_at", "1,5,impression,2025-01-01", "1,5,impression,2025-01-02,x", "1,6"]
    lines += ["1,7,impression,2025-01-03", "1,,impression,2025-01-03", "2,9,click,2025-01-04", "3,9,click,2025-01-04"]
    (tmp_path / "events.csv").write_text("\n".join(lines) + "\n")
    split = read(own(tmp_path))
    assert split.good.height == 4
    assert split.dead.sort("source_row").select("source_row", "raw").rows()[:2] == [
        (2, "1,5,impression,2025-01-02,x"),
        (3, "1,6"),
    ]
    assert split.dead.filter(pl.col("reason").str.contains("post_id"))["source_row"].to_list() == [5]


def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="mixer data inspect"):
        read(own(tmp_path))
    write_lines(tmp_path / "events.jsonl", [{"post_id": 1, "action": "click", "occurred_at": "2025-01-01"}])
    with pytest.raises(MalformedFile, match="events.jsonl, column 'user_id'.*found post_id, action, occurred_at"):
        read(own(tmp_path))


def test_a_file_of_which_most_rows_can_not_be_read_is_refused_with_the_usual_reason(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0), *(event(n, action="poke") for n in range(1, 5))])
    with pytest.raises(
        MalformedFile, match="4 of 5 rows can't be read, most often .4 rows, as 'poke'. because action is not mapped"
    ):
        read(own(tmp_path))


def test_own_files_are_ingested_with_their_dead_letters_places_and_bound_of_time(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [*DAYS, event(90, 1, action="poke")])
    adapter = own(tmp_path, {"earliest": "1980-01-01"})
    lake, holdout = Lake(tmp_path / "lake"), Lake(tmp_path / "holdout")
    report = ingest(adapter, lake, holdout)
    assert (report.lake_events, report.holdout_events, report.malformed) == (4, 2, 1)
    dead = pl.read_parquet(lake.root / "dead_letters" / "own.parquet")
    assert dead.select("event_id", "source_file", "source_row").rows() == [("e90", "events.jsonl", 7)]
    assert lake.marker("dataset")["earliest"].startswith("1980-01-01")
    assert lake.marker("dataset")["place"] == str(tmp_path)
    assert report.notes == adapter.notes


def test_the_fingerprint_follows_the_files_and_the_mapping(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", DAYS)
    first = own(tmp_path).fingerprint()
    assert own(tmp_path).fingerprint() == first
    assert own(tmp_path, {"events": {"surface": "shop"}}).fingerprint() != first
    (tmp_path / "mapping.yaml").unlink()
    write_lines(tmp_path / "events.jsonl", DAYS[:-1])
    assert own(tmp_path).fingerprint() != first


def test_auto_takes_them_before_any_other_dataset_and_other_choices_do_not(tmp_path: Path) -> None:
    write_lines(tmp_path / "own" / "events.jsonl", DAYS)
    assert open_adapter(Settings(data=tmp_path, dataset="auto", home=tmp_path / "home")).name == "own"
    assert open_adapter(Settings(data=tmp_path, dataset="own", home=tmp_path / "home")).name == "own"
    assert open_adapter(Settings(data=tmp_path, dataset="world")).name == "world"


def test_own_in_vain_says_where_it_was_looked_for_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetNotFound, match="MIXER_DATASET=own.*mixer data inspect"):
        open_adapter(Settings(data=tmp_path / "nowhere", dataset="own"))
