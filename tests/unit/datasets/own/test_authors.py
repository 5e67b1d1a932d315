"""The author of a post is that of the posts, else of the events, else an unknown one of its own."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from feature_repo.datasets.own.check import check
from feature_repo.datasets.own.inspection import UNKNOWN_AUTHOR
from tests.own_files import event, own, read, write_csv, write_lines


def authors(folder: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Author of each post as its owner writes it, and post and author of each event."""
    adapter = own(folder)
    events, posts = read(adapter).good.filter(action="impression"), adapter.posts()

    def shown(frame: pl.DataFrame) -> list[tuple[str, str]]:
        found = [adapter.ids.texts(kind, frame[f"{kind}_id"]).to_list() for kind in ("post", "author")]
        return list(zip(*found, strict=True))

    return dict(shown(posts)), shown(events)


@pytest.mark.parametrize(
    ("posts", "wanted"),
    [
        ("post_id,text\np1,a\np2,b\np3,c\n", {"p1": "ann", "p2": "ben"}),
        ("post_id,author_id\np1,\np2,zoe\np3,\n", {"p1": "ann", "p2": "zoe"}),
        ("post_id,author_id\np1, \np2,\np3,\n", {"p1": "ann", "p2": "ben"}),
    ],
    ids=["no column", "empty beside given", "all empty"],
)
def test_the_events_name_the_author_where_the_posts_do_not(tmp_path: Path, posts: str, wanted: dict[str, str]) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, post_id=f"p{n}", author_id=by) for n, by in ((1, "ann"), (2, "ben"))])
    write_csv(tmp_path / "posts.csv", posts)
    found, _ = authors(tmp_path)
    assert {post: found[post] for post in wanted} == wanted
    assert found["p3"].startswith(UNKNOWN_AUTHOR)  # of which no event is
    assert len(set(found.values())) == 3


def test_a_row_without_an_author_has_the_one_that_another_row_of_its_post_names(tmp_path: Path) -> None:
    rows = [("p1", None), ("p1", "ann"), ("p2", " "), ("p3", "")]
    write_lines(tmp_path / "events.jsonl", [event(n, post_id=post, author_id=by) for n, (post, by) in enumerate(rows)])
    posts, events = authors(tmp_path)
    assert posts["p1"] == "ann" and events[:2] == [("p1", "ann")] * 2
    assert {posts["p2"], posts["p3"]} == {by for _, by in events[2:]} and all(
        by.startswith(UNKNOWN_AUTHOR) for _, by in events[2:]
    )


@pytest.mark.parametrize(
    ("events", "posts", "told"),
    [
        ({"author_id": "ann"}, "post_id,text\n5,a\n", False),
        ({"author_id": None}, "post_id,author_id\n5,ann\n", False),
        ({"author_id": None}, "post_id,text\n5,a\n", True),
        ({"author_id": " "}, "post_id,author_id\n5,\n", True),
    ],
)
def test_it_is_said_where_no_author_is_given(tmp_path: Path, events: dict, posts: str, told: bool) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n, **events) for n in range(3)])
    write_csv(tmp_path / "posts.csv", posts)
    assert any(note.startswith("No author is given") for note in check(tmp_path).notes) == told
