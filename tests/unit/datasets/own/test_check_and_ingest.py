"""`mixer data check` and an ingestion say the same of the same files: events, days, reasons and their counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from feature_repo.datasets.ingest import IngestError, ingest
from feature_repo.datasets.own.adapter import OwnData
from feature_repo.datasets.own.check import check
from feature_repo.ids import IdTable
from feature_repo.lake import Lake
from tests.own_files import event, write_csv, write_lines

EXAMPLES = Path(__file__).resolve().parents[4] / "docs" / "examples"


def broken_cells(folder: Path) -> None:
    """Events with a fault of every kind, clocks that are hours fast among them; repeated ids; days of another midnight."""
    now = datetime.now(UTC)
    faults = [{"action": f"zap{n}"} for n in range(25)]
    faults += [{"user_id": None}, {"user_id": "a\0b"}, {"post_id": " "}, {"value": "much"}, {"value": "9007199254740993"}]
    faults += [{"occurred_at": "soon"}, {"occurred_at": "1980-01-01"}, {"occurred_at": "1981-01-01"}, {"propensity": 2}]
    faults += [{"occurred_at": (now + timedelta(hours=hours)).isoformat()} for hours in (2, 3, 4)]
    faults += [{"occurred_at": f"2025-03-30 02:{n:02}:00"} for n in range(3)]  # the clock of Paris skipped this hour
    faults += [{"action": "dwell", "value": -5}, {"action": "dwell"}, {"event_id": " "}, {"product": "x" * 65}]
    good = [event(n, n % 9, user_id=n % 4, post_id=n % 3) for n in range(50)]
    good += [event(50, occurred_at=(now + timedelta(minutes=10)).isoformat()), event(3, 60), event(4, 1)]
    write_lines(folder / "events.jsonl", [*good, *(event(100 + n, 3, **fault) for n, fault in enumerate(faults))])
    mapping = {"events": {"time": {"format": "auto", "zone": "Europe/Paris"}}, "day_offset_hours": 13}
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping))


def broken_tables(folder: Path) -> None:
    """Lines that are no rows, and faults of posts, users and edges."""
    lines = [f"{n % 4},{n % 3},click,2025-01-{1 + n % 8:02}" for n in range(40)]
    faults = ["1,5,click,2025-01-02,x", "1,5,click,2025-01-02,x,y", "1,6", ",6,click,2025-01-02", '"a"b,6,click,2025-01-02']
    write_csv(folder / "events.csv", "\n".join(["user_id,post_id,action,occurred_at", *lines, *faults]) + "\n")
    write_csv(folder / "posts.csv", "post_id,author_id\n1,9\n,9\n,8\n2,9\n2,7\n")
    write_csv(folder / "users.csv", f"user_id\n1\n{'x' * 600}\n2,3\n")
    write_csv(folder / "edges.csv", "user_id,target_id,kind\n1,9,follow\n1,7,adores\n1,8,likes\n")


def one_row_says_an_action_twice(folder: Path) -> None:
    """Two rules of one column hold for the same row, so that its event comes twice."""
    text = "".join(f"{n % 4},{n % 3},{n % 6},2025-01-{1 + n % 8:02},{n - 2}\n" for n in range(40))
    write_csv(folder / "events.csv", "user_id,post_id,rating,occurred_at,watched\n" + text)
    rules = [{"action": "like", "at_least": 4}, {"action": "like", "at_least": 5}]
    watched = [{"action": "dwell", "value": True}, {"action": "dwell", "value": True, "at_most": 0}]
    mapping = {"events": {"impressions": "rows", "action_columns": {"rating": rules, "watched": watched}}}
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping))


def agree(folder: Path, tmp_path: Path) -> set[tuple[str, str]]:
    """Assert that both say the same of `folder`; returns the tables and reasons that they gave."""
    checked = check(folder)
    adapter = OwnData(folder, IdTable(f"sqlite:///{tmp_path / 'ids.sqlite'}"))
    found = ingest(adapter, *(Lake(tmp_path / name, adapter.day_offset) for name in ("lake", "holdout")))
    assert checked.refusals == []
    assert checked.events == found.lake_events + found.holdout_events == sum(found.rows_per_day.values())
    assert checked.days == (min(found.rows_per_day), max(found.rows_per_day))
    counts = {place: fault.count for place, fault in checked.faults.items()}
    assert {reason: count for (table, reason), count in counts.items() if table == "events"} == found.malformed_by_reason
    others = {f"{table}: {reason}": count for (table, reason), count in counts.items() if table != "events"}
    assert others == found.left_out_by_reason
    assert sum(found.malformed_by_reason.values()) == found.malformed == checked.counts.dead
    assert (checked.repeats, checked.posts, checked.users) == (found.repeats, found.posts, found.users)
    assert checked.edges == (0 if found.edges_derived else found.edges)
    return set(counts)


@pytest.mark.parametrize("name", sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()))
def test_of_an_example(name: str, tmp_path: Path) -> None:
    agree(EXAMPLES / name, tmp_path)


@pytest.mark.parametrize(
    ("write", "reasons"),
    [(broken_cells, 14), (broken_tables, 8), (one_row_says_an_action_twice, 1)],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_of_a_faulty_log(write: Callable[[Path], None], reasons: int, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    write(files)
    assert len(agree(files, tmp_path)) == reasons


def test_of_a_home_that_holds_another_log(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("lake", "holdout")]
    agree(EXAMPLES / "news", tmp_path)
    assert check(EXAMPLES / "news", lakes=homes).refusals == []
    other = OwnData(EXAMPLES / "shop", IdTable(f"sqlite:///{tmp_path / 'ids.sqlite'}"))
    with pytest.raises(IngestError) as refused:
        ingest(other, *(Lake(home, other.day_offset) for home in homes))
    checked = check(EXAMPLES / "shop", lakes=homes)
    assert checked.refusals == [str(refused.value)]
    assert "set MIXER_HOME to another folder" in checked.refusals[0]
    assert checked.events  # the rows were looked at all the same
