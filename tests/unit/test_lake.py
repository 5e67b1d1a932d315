"""The lake parts events by local day, and writing a part again changes nothing but that part."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.contracts import EVENTS, POSTS, ContractError
from feature_repo.lake import Lake

MIDNIGHT = datetime(2022, 5, 2, tzinfo=UTC)


def events(*moments: datetime, prefix: str = "e") -> pl.DataFrame:
    """One impression per moment."""
    rows = [
        {
            "event_id": f"{prefix}{number}",
            "user_id": 1,
            "post_id": number,
            "author_id": 9,
            "action": "impression",
            "value": None,
            "product": "for_you",
            "position": None,
            "release": None,
            "propensity": None,
            "request_id": None,
            "occurred_at": moment,
        }
        for number, moment in enumerate(moments)
    ]
    return pl.DataFrame(rows, schema=pl.from_arrow(EVENTS.empty_table()).schema)


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


@pytest.mark.parametrize(
    ("offset", "last_of_first_day"),
    [
        (timedelta(0), MIDNIGHT),
        (timedelta(hours=8), MIDNIGHT - timedelta(hours=8)),
        (timedelta(hours=-5), MIDNIGHT + timedelta(hours=5)),
    ],
)
def test_midnight_is_that_of_the_day_offset(tmp_path: Path, offset: timedelta, last_of_first_day: datetime) -> None:
    tick = timedelta(microseconds=1)
    written = Lake(tmp_path, offset).write_events(events(last_of_first_day - tick, last_of_first_day), "p")
    assert written == {date(2022, 5, 1): 1, date(2022, 5, 2): 1}


def test_reading_gives_back_what_was_written_in_order_of_time(tmp_path: Path) -> None:
    lake = Lake(tmp_path, timedelta(hours=8))
    later_first = events(MIDNIGHT + timedelta(days=3), MIDNIGHT, MIDNIGHT + timedelta(hours=20))
    lake.write_events(later_first, "p")
    assert lake.events().equals(later_first.sort("occurred_at"))


def test_only_the_days_asked_for_are_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_events(events(*(MIDNIGHT + timedelta(days=day) for day in range(4))), "p")
    assert lake.event_days() == [date(2022, 5, day) for day in (2, 3, 4, 5)]
    assert lake.events([date(2022, 5, 3), date(2022, 5, 5), date(2022, 6, 1)])["event_id"].to_list() == ["e1", "e3"]


def test_writing_a_part_again_changes_no_byte(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    batch = events(MIDNIGHT, MIDNIGHT + timedelta(days=1))
    lake.write_events(batch, "p")
    before, fingerprint = contents(tmp_path), lake.fingerprint()
    lake.write_events(batch, "p")
    assert contents(tmp_path) == before
    assert lake.fingerprint() == fingerprint


def test_a_part_written_again_with_fewer_days_leaves_no_stale_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_events(events(MIDNIGHT, MIDNIGHT + timedelta(days=1)), "p")
    lake.write_events(events(MIDNIGHT, prefix="other"), "q")
    lake.write_events(events(MIDNIGHT + timedelta(days=1), prefix="new"), "p")
    assert set(lake.events()["event_id"]) == {"other0", "new0"}


def test_an_empty_part_is_a_part_without_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_events(events(MIDNIGHT), "p")
    assert lake.write_events(events(), "p") == {}
    assert lake.events().is_empty()
    assert lake.events().schema == events().schema


def test_the_fingerprint_follows_the_events_of_its_days(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_events(events(MIDNIGHT), "p")
    first_day, everything = lake.fingerprint([date(2022, 5, 2)]), lake.fingerprint()
    lake.write_events(events(MIDNIGHT + timedelta(days=1), prefix="x"), "q")
    assert lake.fingerprint([date(2022, 5, 2)]) == first_day
    assert lake.fingerprint() != everything


def test_a_batch_that_breaks_the_contract_writes_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(ContractError, match="events: column 'product' is missing"):
        lake.write_events(events(MIDNIGHT).drop("product"), "p")
    assert contents(tmp_path) == {}


def test_posts_users_and_edges_are_replaced_by_part(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    edge = {"user_id": 1, "target_id": 2, "kind": "follow", "weight": 1.0, "derived": True, "created_at": MIDNIGHT}
    lake.write("edges", pl.DataFrame([edge, {**edge, "target_id": 3}]), "a")
    lake.write("edges", pl.DataFrame([{**edge, "target_id": 4}]), "a")
    lake.write("edges", pl.DataFrame([{**edge, "target_id": 5}]), "b")
    assert sorted(lake.read("edges")["target_id"]) == [4, 5]
    assert lake.read("users").is_empty()


def test_a_part_that_is_replaced_while_it_is_read_is_read_as_one_of_both(tmp_path: Path) -> None:
    """By its path polars opens a file twice: what comes between the two once ended the stream worker."""
    lake, done = Lake(tmp_path), threading.Event()
    sizes = (1, 4_000)
    edge = {"user_id": 1, "kind": "follow", "weight": 1.0, "derived": True, "created_at": MIDNIGHT}
    tables = [pl.DataFrame([{**edge, "target_id": target} for target in range(size)]) for size in sizes]
    lake.write("edges", tables[0], "day")

    def replace() -> None:
        for number in range(150):
            lake.write("edges", tables[number % 2], "day")
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(lake.read("edges").height)
    writer.join()
    assert seen <= set(sizes)


def test_a_marker_is_read_back_and_an_unwritten_one_is_none(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert lake.marker("ingest") is None
    lake.mark("ingest", {"days": [date(2022, 5, 2)], "rows": 3})
    assert lake.marker("ingest") == {"days": ["2022-05-02"], "rows": 3}


def posts(*embeddings: list | None, first: int = 0) -> pl.DataFrame:
    """A post for each embedding."""
    rows = [
        {"post_id": first + n, "author_id": 1, "created_at": MIDNIGHT, "topics": [], "media": "note", "embedding": one}
        for n, one in enumerate(embeddings)
    ]
    return pl.DataFrame(rows, schema=pl.from_arrow(POSTS.empty_table()).schema)


def test_embeddings_are_kept_and_a_table_without_the_column_is_taken(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("posts", posts([0.5, 1.0], None), "given")
    lake.write("posts", posts(None, first=2).drop("embedding"), "without")
    assert lake.read("posts").sort("post_id")["embedding"].to_list() == [[0.5, 1.0], None, None]


def test_a_part_from_before_there_were_embeddings_is_read_beside_newer_ones(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("posts", posts([0.5, 1.0]), "newer")
    posts(None, first=7).drop("embedding").write_parquet(tmp_path / "posts" / "older.parquet")
    assert dict(lake.read("posts").select("post_id", "embedding").iter_rows()) == {0: [0.5, 1.0], 7: None}
    lake.quarantine("posts", posts(None).drop("embedding").with_columns(rule=pl.lit("old")))
    lake.quarantine("posts", posts([1.0, 2.0]).with_columns(rule=pl.lit("new")))
    assert pl.read_parquet(tmp_path / "quarantine" / "posts.parquet")["embedding"].to_list() == [None, [1.0, 2.0]]


@pytest.mark.parametrize(
    ("embeddings", "told"),
    [
        ([[1.0], [1.0, 2.0]], "lengths 1, 2; all embeddings have one length"),
        ([[]], "lengths 0"),
        ([[1.0, float("nan")]], "no finite number"),
        ([[1.0, None]], "no finite number"),
    ],
)
def test_embeddings_that_can_not_be_compared_are_refused(tmp_path: Path, embeddings: list, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        Lake(tmp_path).write("posts", posts(*embeddings), "p")
    assert not (tmp_path / "posts" / "p.parquet").exists()
