"""Logged exposures become visits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import EVENTS
from flows.demo.traffic import visits
from flows.demo.traffic.visits import (
    LEAST_USERS,
    LONGEST_ID,
    first_of,
    hours_of,
    in_sample,
    share_of_visits,
    slices,
)

NOON = datetime(2022, 5, 2, 12, tzinfo=UTC)


def _events(*rows: tuple[int, int, str, str, datetime, str]) -> pl.DataFrame:
    frame = [
        {
            "event_id": f"{request}-{action}", "user_id": user, "post_id": post, "author_id": 1, "action": action,
            "value": None, "product": product, "position": None, "release": None, "propensity": None,
            "request_id": request, "occurred_at": at,
        }
        for user, post, action, product, at, request in rows
    ]  # fmt: skip
    schema = pl.from_arrow(EVENTS.empty_table()).schema
    return pl.DataFrame(frame, schema=schema)


def test_a_visit_is_one_user_on_one_surface_in_one_slice():
    events = _events(
        (1, 10, "impression", "tab_1", NOON, "a"),
        (1, 11, "impression", "tab_1", NOON + timedelta(minutes=1), "b"),
        (1, 12, "impression", "tab_2", NOON, "c"),
        (1, 13, "impression", "tab_1", NOON + timedelta(hours=5), "d"),
    )
    parts = list(slices(events, share=1.0, seed=7, name="t"))
    assert [len(part.visits) for part in parts] == [2, 1]
    assert sum(part.events.height for part in parts) == 4
    first = next(visit for visit in parts[0].visits if visit.product == "tab_1")
    assert first.post_ids.tolist() == [10, 11]
    identifiers = [visit.request_id for part in parts for visit in part.visits]
    assert len(set(identifiers)) == 3


@pytest.mark.parametrize(("users", "asking"), [(12, 12), (120, LEAST_USERS)])
def test_a_small_share_of_a_small_log_still_asks_for_thirty_users_or_all(users, asking):
    events = _events(*((user, 10, "impression", "tab_1", NOON, f"r{user}") for user in range(users)))
    part = next(iter(slices(events, share=0.001, seed=7, name="t")))
    assert len({visit.user_id for visit in part.visits}) == asking


def test_a_bound_of_visits_makes_the_share_of_users_smaller_and_never_larger():
    rows = [(user, 10, "impression", "tab_1", NOON + timedelta(days=day), "r") for user in range(500) for day in (0, 1)]
    events = _events(*rows)
    assert share_of_visits(events, 1.0, 100) == pytest.approx(0.1)
    assert share_of_visits(events, 0.05, 100) == 0.05
    assert share_of_visits(events, 1.0, 5_000) == 1.0
    visits = [
        visit for part in slices(events, share=share_of_visits(events, 1.0, 300), seed=7, name="t") for visit in part.visits
    ]
    assert 200 < len(visits) < 400


def test_the_first_events_are_cut_between_two_moments():
    moments = [0, 1, 1, 1, 2, 3]
    events = pl.DataFrame({"occurred_at": [datetime(2025, 1, 1, hour, tzinfo=UTC) for hour in moments]})
    assert [first_of(events, most).height for most in (6, 5, 4, 3, 2, 1)] == [6, 5, 4, 1, 1, 1]


def test_slices_of_a_dense_log_are_shorter_and_never_longer():
    start = datetime(2025, 1, 1, tzinfo=UTC)
    events = pl.DataFrame({"occurred_at": [start + timedelta(minutes=n) for n in range(601)]})  # 60 an hour
    assert hours_of(events, 2, 30) == pytest.approx(0.5, rel=0.01)
    assert hours_of(events, 2, 500) == 2
    assert hours_of(events, 2, 1) == pytest.approx(1 / 60, rel=0.01)
    assert hours_of(events[:1], 2, 500) == 2


def test_all_events_are_sent_whatever_the_share_of_visits():
    rows = [(user, 10, "impression", "tab_1", NOON, f"r{user}") for user in range(200)]
    part = next(iter(slices(_events(*rows), share=0.25, seed=7, name="t")))
    assert part.events.height == 200
    assert 20 < len(part.visits) < 80


def test_a_sample_of_users_is_stable_and_grows_with_its_share():
    users = np.arange(10_000)
    small, large = in_sample(users, 0.1, 7), in_sample(users, 0.3, 7)
    assert abs(small.mean() - 0.1) < 0.02
    assert abs(large.mean() - 0.3) < 0.02
    assert (large | ~small).all()
    assert (in_sample(users, 0.1, 7) == small).all()


def test_a_visit_of_more_posts_than_a_request_may_ask_for_is_several_requests(monkeypatch):
    monkeypatch.setattr(visits, "MOST_SCORED", 3)
    rows = [(1, 10 + i, "impression", "tab_1", NOON + timedelta(seconds=i), f"r{i}") for i in range(7)]
    found = next(iter(slices(_events(*rows), share=1.0, seed=7, name="t"))).visits
    assert [visit.post_ids.tolist() for visit in found] == [[10, 11, 12], [13, 14, 15], [16]]
    assert len({visit.request_id for visit in found}) == 3
    assert found[1].at_us - found[0].at_us == 3_000_000


def test_a_surface_of_any_name_is_passed_on_and_a_long_id_is_shortened_by_a_hash():
    long, other = "x" * 300, "x" * 299 + "y"
    rows = [(1, 10, "impression", "the front page", NOON, "a"), (1, 11, "impression", long, NOON, "b")]
    rows.append((1, 12, "impression", other, NOON, "c"))
    found = {
        visit.product: visit.request_id for visit in next(iter(slices(_events(*rows), share=1.0, seed=7, name="t"))).visits
    }
    assert set(found) == {"the front page", long, other}
    assert found["the front page"].endswith("-the front page")
    assert len(found[long]) == len(found[other]) == LONGEST_ID
    assert found[long] != found[other]


def test_the_first_events_end_before_a_moment_that_does_not_fit_but_never_before_the_first():
    rows = [
        (1, 10 + n, "impression", "tab_1", NOON + timedelta(hours=hour), f"r{n}") for n, hour in enumerate((0, 0, 0, 1, 1, 2))
    ]
    events = _events(*rows)
    assert [first_of(events, most).height for most in (1, 2, 3, 4, 5, 6, 9)] == [3, 3, 3, 3, 5, 6, 6]
