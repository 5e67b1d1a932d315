"""What can be read but is hardly meant is told before and by an ingestion: times, ids and surfaces that do not fit together."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from feature_repo.datasets.own.check import check
from feature_repo.datasets.own.inspection import inspect
from tests.own_files import START, event, own, read, write_csv, write_lines


def told(folder: Path, words: str) -> str:
    """The one sentence with `words`, which check and inspect give as a doubt and an ingestion as a note."""
    adapter = own(folder)
    read(adapter)
    for sentences in (adapter.notes, check(folder).doubts, inspect(folder).doubts):
        (found,) = [sentence for sentence in sentences if words in sentence]
    assert not [note for note in check(folder).notes if words in note]
    return found


def test_a_post_is_created_at_the_latest_when_it_is_first_seen(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, day, post_id=n % 3) for n, day in enumerate((4, 5, 6, 2))])
    write_csv(tmp_path / "posts.csv", "post_id,created_at\n0,2025-03-01\n1,2024-12-01\n2,\n9,2025-04-01\n")
    adapter = own(tmp_path)
    read(adapter)
    created = dict(adapter.posts().select("post_id", "created_at").rows())
    days = {post: (moment - START) / timedelta(days=1) for post, moment in created.items()}
    assert days == {0: 2, 1: -31.5, 2: 6, 9: 89.5}
    assert "1 of 4 posts have a created_at after their first event" in told(tmp_path, "created_at")


@pytest.mark.parametrize("kind", ["post", "user"])
def test_ids_that_match_nothing_in_the_events_are_told_with_examples_of_both_sides(tmp_path: Path, kind: str) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, **{f"{kind}_id": n}) for n in range(4)])
    write_csv(tmp_path / f"{kind}s.csv", f"{kind}_id\n000\n001\n002\n3\n")
    found = told(tmp_path, "never occur in the events")
    assert f"3 of 4 {kind}s of the {kind}s' files (75%) never occur in the events, as '000' and '001'; " in found
    assert f"3 of 4 {kind}s of the events are not in the {kind}s' files, as '0' and '1'." in found


def test_ids_of_which_half_match_are_not_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, post_id=n, user_id=n) for n in range(2)])
    for kind in ("post", "user"):
        write_csv(tmp_path / f"{kind}s.csv", f"{kind}_id\n0\n1\n2\n3\n")
    report = check(tmp_path)
    assert report.accepted and report.doubts == []


def test_a_sample_says_nothing_of_ids_that_it_did_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, post_id=n) for n in range(9)])
    write_csv(tmp_path / "posts.csv", "post_id\n6\n7\n8\n")
    monkeypatch.setattr("feature_repo.datasets.own.inspection.SAMPLE_ROWS", 4)
    assert not [doubt for doubt in inspect(tmp_path).doubts if "never occur" in doubt]


def test_of_two_columns_for_the_surface_the_used_one_is_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0, surface="home", product="mail")])
    adapter = own(tmp_path)
    assert read(adapter).good["product"].to_list() == ["home"]
    (doubt,) = check(tmp_path).doubts
    assert doubt.startswith("Columns 'surface' and 'product' both name the surface: 'surface' is used.")
    assert doubt in adapter.notes
    own(tmp_path, {"events": {"columns": {"surface": "product"}}})
    assert check(tmp_path).doubts == []


def test_embeddings_of_zeros_alone_are_told_with_their_number(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, post_id=n) for n in range(4)])
    rows = [[0, 0], [0, 1], None, [0.0, -0.0]]
    write_lines(tmp_path / "posts.jsonl", [{"post_id": n, "embedding": row} for n, row in enumerate(rows)])
    (doubt,) = check(tmp_path).doubts
    assert doubt.startswith("posts.jsonl, column 'embedding': 2 rows hold an embedding of zeros alone")


def test_users_that_stand_for_nobody_are_doubtful(tmp_path: Path) -> None:
    rows = [event(n, user_id=f"u{n}") for n in range(5)]
    write_lines(tmp_path / "events.jsonl", rows)
    assert check(tmp_path).doubts == []
    write_lines(tmp_path / "events.jsonl", [*rows, event(5, user_id="anonymous"), event(6, user_id="(not set)")])
    (doubt,) = check(tmp_path).doubts
    assert doubt.startswith("Among the users is 'anonymous', '(not set)', which looks like nobody in particular")


def test_a_thousand_rows_of_a_few_posts_are_doubtful(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, user_id=n % 50, post_id=f"p{n % 6}") for n in range(1_000)])
    (doubt,) = check(tmp_path).doubts
    assert doubt == "1,000 rows name only 6 posts. Check that column 'post_id' holds their ids."
