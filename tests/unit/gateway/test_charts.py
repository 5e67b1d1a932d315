"""Geometry of the charts: harm is to the right, the limit is where it is said to be, and nothing leaves the drawing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from monitoring.canary.verdict import MetricResult, Verdict
from services.gateway.pages.charts import CONE_HEIGHT, WIDTH, area, binned, cone, harm, interval_bar
from services.gateway.pages.timeline import funnel_bars

LOSS = MetricResult(
    name="log_loss.click", label="Log loss, click", role="decides", better="lower", control=0.5, treatment=0.51,
    difference=0.01, low=-0.01, high=0.03, null=0.0, limit=0.02, decision="inconclusive",
    control_users=300, treatment_users=300, alpha=0.0125,
)  # fmt: skip


def test_the_axis_counts_in_tolerated_worsenings_with_harm_to_the_right():
    bar = interval_bar(LOSS)
    assert (harm(LOSS, 0.0), harm(LOSS, 0.02), harm(LOSS, -0.02)) == (0, 1, -1)
    assert bar.low < bar.zero < bar.point < bar.limit < bar.high
    assert bar.zero == WIDTH / 2


def test_a_metric_that_should_be_high_is_drawn_the_other_way_round():
    ndcg = replace(LOSS, better="higher", difference=-0.01, low=-0.03, high=0.01, limit=-0.02)
    assert interval_bar(ndcg) == interval_bar(LOSS)


def test_a_ratio_is_drawn_from_one():
    latency = replace(LOSS, null=1.0, limit=1.5, difference=1.25, low=1.0, high=math.inf)
    bar = interval_bar(latency)
    assert bar.low == bar.zero
    assert (bar.high, bar.cut_high) == (WIDTH, True)


def test_an_interval_past_the_end_is_said_to_be_beyond():
    assert interval_bar(replace(LOSS, low=0.2, high=0.4, difference=0.3)).beyond == "worse"
    assert interval_bar(replace(LOSS, low=-0.4, high=-0.2, difference=-0.3)).beyond == "better"
    assert interval_bar(LOSS).beyond == ""


@pytest.mark.parametrize("change", [{"decision": "no_data"}, {"limit": 0.0}, {"difference": math.nan}])
def test_without_data_or_tolerance_there_is_no_bar(change):
    assert interval_bar(replace(LOSS, **change)) is None


def test_an_end_that_was_infinite_before_it_was_kept_is_drawn_to_the_edge():
    kept = Verdict.from_dict(Verdict("inconclusive", [replace(LOSS, high=math.inf)], []).to_dict())
    assert interval_bar(kept.metrics[0]).high == WIDTH


def test_a_cone_has_a_point_for_each_look_and_needs_two():
    looks = [Verdict("inconclusive", [replace(LOSS, low=-0.04 / n, high=0.04 / n, difference=0.0)], []) for n in (1, 2, 4)]
    drawn = cone(looks, "log_loss.click")
    heights = [float(point.split(",")[1]) for point in drawn.band.split()]
    upper, lower = heights[:3], heights[3:][::-1]
    assert drawn.looks == 3
    assert upper == sorted(upper)  # it narrows
    assert lower == sorted(lower, reverse=True)
    assert drawn.zero == CONE_HEIGHT / 2
    assert cone(looks[:1], "log_loss.click") is None
    assert cone(looks, "ndcg") is None


def test_the_area_touches_top_and_ground():
    assert area([0, 5, 10], top=10, width=20, height=50) == "M0 50 L0.0 50.0 L10.0 25.0 L20.0 0.0 L20 50 Z"
    assert area([], top=1) == area([1, 2], top=0) == ""
    assert binned([4, 0, 0, 0, 8, 8, 8, 8], 4) == [1, 8]


def test_the_funnel_shows_the_stages_that_change_something_or_fail():
    stages = [("popular", 0, 400, ""), ("seen_posts", 400, 400, ""), ("muted", 400, 100, ""), ("graph", 100, 100, "timed out")]
    bars = funnel_bars([{"stage": s, "before": b, "after": a, "failure": f} for s, b, a, f in stages])
    assert [(bar["stage"], bar["width"]) for bar in bars] == [("popular", 100.0), ("muted", 50.0), ("graph", 50.0)]
    assert funnel_bars([]) == []
