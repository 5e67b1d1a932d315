"""Freshness and consistency of the features as Prometheus metrics, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitoring.consistency.report import FOLDER, latest_report
from services.gateway.stream_watch import StreamWatch


class FeatureMetrics(Collector):
    """A gauge is left out while its value is not known."""

    def __init__(self, watch: StreamWatch, reports: Path) -> None:
        self._watch = watch
        self._consistency = reports / FOLDER

    def collect(self) -> Iterator[Metric]:
        yield from self._stream()
        yield from self._differing()

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read files."""
        return []

    def _stream(self) -> Iterator[Metric]:
        now = self._watch.freshness()
        age = GaugeMetricFamily(
            "home_mixer_stream_newest_event_age_seconds",
            "Now minus the time of the newest applied event. log=replayed: the events are logged days, old by nature.",
            labels=["log"],
        )
        if now.newest_event_age_s is not None:
            age.add_metric(["replayed" if now.replayed else "live"], now.newest_event_age_s)
        yield age
        yield from _known("behind_seconds", "How long the oldest record not saved yet has waited at the broker.", now.behind_s)
        yield from _known("records_waiting", "Records at the broker that are not saved yet.", now.records_waiting)
        yield from _known("last_save_age_seconds", "Time since the stream worker saved.", now.last_save_age_s)
        yield from _known("cells_waiting", "Cells whose newest values are not in the online store yet.", now.cells_waiting)
        # No counter: an exposure that comes late takes back the actions that turn out to answer it.
        text = "Actions applied, or seeded from the lake, that answer no exposure: their rates and labels lack them."
        yield from _known("unanswered_actions", text, now.unanswered)
        seen = int(now.records_waiting is not None) if self._watch.looked else None
        yield from _known("broker_seen", "1 while the broker answers.", seen)

    def _differing(self) -> Iterator[Metric]:
        report = latest_report(self._consistency)
        share = GaugeMetricFamily(
            "home_mixer_consistency_differing_share",
            "Share of a family's served vectors that differ from recomputed ones, at the last check.",
            labels=["family"],
        )
        for family in [] if report is None else report["families"]:
            share.add_metric([family["family"]], family["share_of_vectors"])
        yield share


def _known(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(f"home_mixer_stream_{name}", text, value=value)
