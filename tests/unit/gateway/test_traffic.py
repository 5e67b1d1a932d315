"""The last two minutes of traffic, by arm."""

from __future__ import annotations

from services.gateway.metrics import WINDOW_S, RecentTraffic


def test_requests_are_counted_in_their_second_and_forgotten_after_the_window():
    traffic = RecentTraffic()
    for at, status in ((100.2, 200), (100.9, 500), (101.0, 200)):
        traffic.add("live", status, 0.010, now=at)
    seen = traffic.of("live", now=101.5)
    assert seen.per_second[-2:] == [2, 1]
    assert (len(seen.per_second), seen.requests, seen.errors) == (WINDOW_S, 3, 1)
    assert traffic.of("live", now=101.5 + WINDOW_S).requests == 0


def test_an_error_of_the_client_is_none_of_the_arms():
    traffic = RecentTraffic()
    traffic.add("canary", 422, 0.010, now=5.0)
    assert traffic.of("canary", now=5.0).errors == 0


def test_percentiles_are_of_the_latencies_in_milliseconds():
    traffic = RecentTraffic()
    for ms in range(1, 101):
        traffic.add("live", 200, ms / 1000, now=50.0)
    seen = traffic.of("live", now=50.0)
    assert (round(seen.p50_ms), round(seen.p95_ms)) == (51, 96)
    assert traffic.of("canary", now=50.0).p95_ms is None
