"""What the gateway counts: Prometheus metrics, and the last two minutes for the control room."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

WINDOW_S = 120  # seconds of traffic that the control room draws
LATENCIES_KEPT = 2_000  # newest answers an arm, for its percentiles

_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class GatewayMetrics:
    """Prometheus metrics in a registry of their own, so that two apps in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["path", "arm", "release"]
        self.requests = Counter("mixer_gateway_requests", "Answers by status.", [*labels, "status"], registry=self.registry)
        self.seconds = Histogram(
            "mixer_gateway_request_seconds", "Time from request to answer.", labels, buckets=_BUCKETS_S, registry=self.registry
        )
        self.fallbacks = Counter(
            "mixer_gateway_fallbacks",
            "Requests that another release answered than the one that the user belongs to.",
            ["release", "reason"],
            registry=self.registry,
        )
        self.arm_healthy = Gauge(
            "mixer_gateway_arm_healthy", "1 while the arm answers its probe.", ["release"], registry=self.registry
        )
        self.fast_path = Counter(
            "mixer_gateway_fast_path_rollbacks",
            "Releases that the door took off by itself.",
            ["release"],
            registry=self.registry,
        )
        self.failover = Gauge(
            "mixer_gateway_failover", "1 while the standby answers in the place of the live release.", registry=self.registry
        )
        self.in_flight = Gauge(
            "mixer_gateway_in_flight", "Requests that an arm is working on.", ["release"], registry=self.registry
        )
        self.route_age = Gauge("mixer_gateway_route_age_seconds", "Seconds since the route was read.", registry=self.registry)
        self.shadow_overlap = Histogram(
            "mixer_gateway_shadow_overlap",
            "Share of the live release's first ten posts that the shadow shows too.",
            ["release"],
            buckets=tuple(step / 10 for step in range(11)),
            registry=self.registry,
        )

        self.answer_log = Counter(
            "mixer_gateway_answer_log",
            "Ends of requests, written to the broker.",
            ["outcome"],
            registry=self.registry,
        )
        self.paired_scores = Counter(
            "mixer_gateway_paired_scores",
            "Pages of a canary's time that the other release scored too, by outcome.",
            ["outcome"],
            registry=self.registry,
        )

    def forget(self, release: str) -> None:
        """Drop what is known of an arm that is gone; its counts stay."""
        for gauge in (self.arm_healthy, self.in_flight):
            gauge.remove_by_labels({"release": release})


@dataclass(frozen=True)
class ArmTraffic:
    """An arm over the last two minutes. Latencies in milliseconds, NaN-free: None while nothing was answered."""

    per_second: list[int]  # oldest first, WINDOW_S long
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass
class _Second:
    at: int
    requests: int = 0
    errors: int = 0


@dataclass
class RecentTraffic:
    """Answers of the last WINDOW_S seconds by arm name. One event loop writes and reads it."""

    _seconds: dict[str, deque[_Second]] = field(default_factory=dict)
    _latencies: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)

    def add(self, arm: str, status: int, seconds: float, now: float | None = None) -> None:
        """Count one answer; a status of 500 or more is an error."""
        now = time.monotonic() if now is None else now
        ring = self._seconds.setdefault(arm, deque(maxlen=WINDOW_S))
        if not ring or ring[-1].at != int(now):
            ring.append(_Second(int(now)))
        ring[-1].requests += 1
        ring[-1].errors += status >= 500
        self._latencies.setdefault(arm, deque(maxlen=LATENCIES_KEPT)).append((now, seconds * 1000))

    def arms(self) -> list[str]:
        return sorted(self._seconds)

    def of(self, arm: str, now: float | None = None) -> ArmTraffic:
        """The arm's last two minutes."""
        end = int(time.monotonic() if now is None else now)
        per_second, errors = [0] * WINDOW_S, 0
        for second in self._seconds.get(arm, ()):
            place = second.at - (end - WINDOW_S + 1)
            if 0 <= place < WINDOW_S:
                per_second[place] = second.requests
                errors += second.errors
        recent = sorted(ms for at, ms in self._latencies.get(arm, ()) if at > end - WINDOW_S)
        return ArmTraffic(per_second, sum(per_second), errors, _percentile(recent, 0.5), _percentile(recent, 0.95))


def _percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None
