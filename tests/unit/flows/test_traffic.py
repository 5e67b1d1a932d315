"""Logged exposures become visits, and an arm's answers are worth what the logged outcomes say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import EVENTS, HISTORY_BEFORE
from feature_repo.feature_rows import HEADS
from flows.traffic import visits
from flows.traffic.outcomes import log_losses, reference_rates, visit_ndcg
from flows.traffic.visits import (
    LEAST_USERS,
    LONGEST_ID,
    Visit,
    first_of,
    hours_of,
    in_sample,
    labelled_exposures,
    share_of_visits,
    slices,
)

JUDGED_HEADS = ("click", "video_view", "like", "profile_click")
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


def test_labels_join_by_exposure_and_not_by_post():
    events = _events(
        (1, 10, "impression", "tab_1", NOON, "a"),
        (1, 10, "click", "tab_1", NOON, "a"),
        (1, 10, "impression", "tab_1", NOON + timedelta(seconds=1), "b"),
        (2, 10, "impression", HISTORY_BEFORE, NOON, "h"),
    )
    exposures = labelled_exposures(events)
    assert exposures["request_id"].to_list() == ["a", "b"]
    assert exposures["click"].to_list() == [1, 0]
    assert exposures["like"].to_list() == [0, 0]


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
    assert first.labels.shape == (2, len(HEADS))
    identifiers = [visit.request_id for part in parts for visit in part.visits]
    assert len(set(identifiers)) == 3


def test_an_action_of_a_later_slice_is_a_label_of_the_exposure_that_it_answers():
    """Also where the later slice shows the post again: cut first, the like would seem to answer that exposure."""
    later = NOON + timedelta(hours=3)
    events = _events(
        (1, 10, "impression", "tab_1", NOON, "a"),
        (1, 10, "impression", "tab_1", later, "b"),
        (1, 10, "like", "tab_1", later + timedelta(minutes=1), "a"),
    )
    parts = list(slices(events, share=1.0, seed=7, name="t"))
    place = HEADS.index("like")
    assert [[visit.labels[:, place].tolist() for visit in part.visits] for part in parts] == [[[1]], [[0]]]


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


def _visit(labels: list[list[int]]) -> Visit:
    full = np.zeros((len(labels), len(HEADS)), np.uint8)
    for row, marks in enumerate(labels):
        for head, mark in zip(JUDGED_HEADS, marks, strict=True):
            full[row, HEADS.index(head)] = mark
    return Visit("r", 1, "tab_1", 0, np.arange(len(labels)), full)


def test_log_loss_is_the_sum_over_posts():
    visit = _visit([[1, 0, 0, 0], [0, 0, 0, 0]])
    probabilities = np.full((2, len(JUDGED_HEADS)), 0.25)
    losses = log_losses(visit, probabilities, JUDGED_HEADS)
    assert losses["click"] == pytest.approx(-math.log(0.25) - math.log(0.75))
    assert losses["like"] == pytest.approx(-2 * math.log(0.75))


def test_ndcg_is_one_for_the_ideal_order_and_less_for_its_reverse():
    visit = _visit([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert visit_ndcg(visit, np.array([3.0, 2.0, 1.0]), JUDGED_HEADS) == pytest.approx(1.0)
    worst = visit_ndcg(visit, np.array([1.0, 2.0, 3.0]), JUDGED_HEADS)
    assert worst == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / (2 + 1 / math.log2(3)))


def test_ndcg_is_undefined_where_no_order_matters():
    assert visit_ndcg(_visit([[1, 0, 0, 0]]), np.array([1.0]), JUDGED_HEADS) is None
    assert visit_ndcg(_visit([[1, 0, 0, 0], [0, 1, 0, 0]]), np.array([1.0, 2.0]), JUDGED_HEADS) is None


def test_reference_rates_shrink_to_the_global_rate_and_serve_unknown_posts():
    rows = [(user, 10, "impression", "tab_1", NOON, f"r{user}") for user in range(40)]
    rows += [(user, 11, "impression", "tab_1", NOON, f"s{user}") for user in range(40)]
    rows += [(user, 10, "click", "tab_1", NOON, f"r{user}") for user in range(40)]
    rates = reference_rates(labelled_exposures(_events(*rows)), strength=10.0)
    assert rates.heads == ("click",)
    clicks = rates.of(np.array([10, 11, 999]))[:, 0]
    assert clicks.tolist() == pytest.approx([(40 + 5) / 50, 5 / 50, 0.5])


def test_answers_are_judged_by_chosen_heads_beside_the_common_ones():
    actions = ["click", "video_view", "like", "follow", "share"]
    rows = [(user, 10, "impression", "tab_1", NOON, f"r{user}") for user in range(100)]
    rows += [(user, 10, action, "tab_1", NOON, f"r{user}") for n, action in enumerate(actions) for user in range(60 - n)]
    exposures = labelled_exposures(_events(*rows))
    assert reference_rates(exposures).heads == tuple(actions[:4])
    assert reference_rates(exposures, deciding=("share", "click", "reply")).heads == tuple(actions)


def test_a_log_without_engagement_is_replayed_and_judged_by_nothing():
    rows = [(user, 10, "impression", "news", NOON, f"r{user}") for user in range(5)]
    rates = reference_rates(labelled_exposures(_events(*rows)))
    assert rates.heads == ()
    assert rates.of(np.array([10, 999])).shape == (2, 0)
    assert log_losses(_visit([[1, 0, 0, 0]]), rates.of(np.array([10])), rates.heads) == {}
    assert visit_ndcg(_visit([[1, 0, 0, 0], [0, 0, 0, 0]]), np.array([1.0, 2.0]), rates.heads) is None


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
