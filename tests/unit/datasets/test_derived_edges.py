"""The derived follow graph holds exactly the pairs that the rule names, from the moment it held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from feature_repo.contracts import check_table
from feature_repo.datasets.derived_edges import derive_follow_edges

START = datetime(2022, 4, 25, tzinfo=UTC)


def engagements(*rows: tuple[int, int, str, int]) -> pl.DataFrame:
    """(user, author, action, minutes after START)."""
    return pl.DataFrame(
        [
            {"user_id": user, "author_id": author, "action": action, "occurred_at": START + timedelta(minutes=minute)}
            for user, author, action, minute in rows
        ],
        schema_overrides={"occurred_at": pl.Datetime("us", "UTC")},
    )


def edges(*rows: tuple[int, int, str, int]) -> list[tuple]:
    table = derive_follow_edges(engagements(*rows))
    check_table("edges", table)
    assert table["derived"].all()
    assert set(table["kind"]) <= {"follow"}
    return table.select("user_id", "target_id", "weight", "created_at").rows()


@pytest.mark.parametrize(
    ("rows", "weight", "minute"),
    [
        ([(1, 9, "follow", 5)], 1.0, 5),
        ([(1, 9, "like", 3)], 0.5, 3),
        ([(1, 9, "video_view", 2), (1, 9, "video_view", 7)], 0.5, 7),
        ([(1, 9, "video_view", 7), (1, 9, "video_view", 2), (1, 9, "video_view", 9)], 0.75, 7),
        ([(1, 9, "video_view", 1), (1, 9, "like", 4)], 0.75, 4),
        ([(1, 9, "like", 1), (1, 9, "like", 2), (1, 9, "like", 3)], 1.0, 1),
        ([(1, 9, "like", 1), (1, 9, "follow", 8)], 1.0, 1),
        ([(1, 9, "own_5", 4)], 0.5, 4),
        ([(1, 9, "bookmark", 6), (1, 9, "repost", 4)], 1.0, 4),
        ([(1, 9, "profile_click", 1), (1, 9, "like", 4), (1, 9, "share", 5), (1, 9, "reply", 6)], 0.5, 4),
        ([(1, 9, "own_3", 6), (1, 9, "video_view", 8)], 0.5, 8),
    ],
)
def test_an_edge_begins_when_the_rule_first_holds(rows: list[tuple], weight: float, minute: int) -> None:
    assert edges(*rows) == [(1, 9, weight, START + timedelta(minutes=minute))]


NO_APPROVAL = ["impression", "click", "dwell", "profile_click", "reply", "share", "not_interested", "report", "own_1", "own_7"]


@pytest.mark.parametrize("action", NO_APPROVAL)
def test_other_actions_make_no_edge(action: str) -> None:
    assert edges((1, 9, action, 1), (1, 9, action, 2), (1, 9, action, 3)) == []


def test_a_single_quality_view_makes_no_edge_and_views_of_two_authors_do_not_add_up() -> None:
    assert edges((1, 8, "video_view", 1), (1, 9, "video_view", 2)) == []


def test_later_events_never_move_an_earlier_edge() -> None:
    early = [(1, 9, "like", 1), (2, 9, "follow", 2)]
    late = [(1, 9, "follow", 50), (2, 9, "like", 60), (3, 9, "like", 70)]
    before = {(user, author): at for user, author, _, at in edges(*early)}
    after = {(user, author): at for user, author, _, at in edges(*early, *late)}
    assert before.items() <= after.items()


def test_users_grouped_in_parts_give_the_edges_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = engagements(
        *((number % 7, number % 3, "like", number) for number in range(40)),
        *((number % 11, number % 5, "video_view", number) for number in range(60)),
        (2**62 + 1, 1, "follow", 5), (2**62 + 2, 1, "follow", 6),
    )  # fmt: skip
    whole = derive_follow_edges(rows)
    monkeypatch.setattr("feature_repo.datasets.derived_edges.PART_ROWS", 9)
    assert derive_follow_edges(rows).equals(whole) and whole.height > 20
    assert derive_follow_edges(rows.clear()).equals(whole.clear())
