"""What the mixer process counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.5)
COUNTS = (0, 5, 20, 50, 100, 300, 600, 1_000, 1_500)


class MixerMetrics:
    """A registry of its own, so that two runtimes in one process (a test, a notebook) do not collide."""

    def __init__(self, release: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("mixer_requests", "Requests by endpoint and status.", "endpoint", "status")
        self.latency = self._histogram("mixer_request_seconds", "Time to answer.", SECONDS, "endpoint")
        self.components = self._counter("mixer_component_calls", "Calls by outcome.", "pipeline", "component", "outcome")
        self.component_seconds = self._histogram(
            "mixer_component_seconds", "Time in a component.", SECONDS, "pipeline", "component"
        )
        self.candidates = self._histogram("mixer_candidates", "Candidates that sources proposed.", COUNTS, "pipeline")
        self.ends = self._counter("mixer_candidate_ends", "How candidates ended.", "pipeline", "end")
        self.empty = self._counter("mixer_empty_timelines", "Timelines without a post.", "pipeline")
        self.served_log = self._counter("mixer_served_log_messages", "Served pages written to the broker.", "outcome")
        self.events = self._counter("mixer_events", "Client events by outcome.", "outcome")
        self.unmatched = self._counter(
            "mixer_events_unmatched", "Accepted events whose request_id names no page that this process served to their user."
        )
        self.snapshot_age = Gauge("mixer_snapshot_age_seconds", "Time since the snapshot was taken up.", registry=self.registry)
        self.snapshot_swaps = self._counter("mixer_snapshot_loads", "Snapshot refreshes by outcome.", "outcome")
        self.score_cache = self._counter("mixer_score_cache_candidates", "Scores by whether they were at hand.", "outcome")
        self.posts_prepared = self._histogram("mixer_posts_prepared_seconds", "Time to prepare all posts for a tick.", SECONDS)
        self.fresh_posts = self._counter("mixer_fresh_posts", "Posts taken up between two snapshots.")
        info = Gauge("mixer_release_info", "1 for the release that is served.", ("release",), registry=self.registry)
        info.labels(release).set(1)

    def observe_component(self, pipeline: str, component: str, outcome: str, seconds: float) -> None:
        self.components.labels(pipeline, component, outcome).inc()
        self.component_seconds.labels(pipeline, component).observe(seconds)

    def observe_timeline(self, pipeline: str, ends: dict[str, int]) -> None:
        """`ends`: how many candidates were selected, in reserve, or removed by each rule."""
        self.candidates.labels(pipeline).observe(sum(ends.values()))
        for end, count in ends.items():
            self.ends.labels(pipeline, end).inc(count)
        if not ends.get("selected"):
            self.empty.labels(pipeline).inc()

    def observe_score_lookup(self, hits: int, misses: int) -> None:
        self.score_cache.labels("hit").inc(hits)
        self.score_cache.labels("miss").inc(misses)

    def observe_served_log(self, outcome: str) -> None:
        self.served_log.labels(outcome).inc()

    def text(self) -> bytes:
        """The Prometheus exposition."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
