"""Replays logged days as live traffic: requests through the gateway, then the slice's events through the broker.

A slice's events go out after its requests, so no prediction can see its own outcome; they are applied while the next
slice's requests are under way, and before the one after. Finished slices are remembered; a replay that was killed goes on
with the first unfinished one, and the events that it repeats are known by their event_id.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import polars as pl

from feature_repo.ids import RememberedIds
from flows.demo.traffic.asker import Answer, Asker, ReplayFailed
from flows.demo.traffic.visits import Slice, Visit
from infra.settings import Settings
from infra.storage import replace_atomically

CONCURRENCY = 4  # requests in flight: enough to keep two cores busy, few enough that latency means something
TIMELINE_EVERY = 8  # one visit in so many also asks for a whole timeline
STOP_ASKED_EVERY = 96  # visits, about two seconds: a slice of a dense log takes half a minute
TELLING_REQUESTS = 20  # so many errors and no answer: the replay is at fault, not a moment's overload
APPLIED_TIMEOUT_S = 120.0  # the stream worker must have applied a slice's events by then


@dataclass
class ReplayReport:
    """What a replay sent, and what came back."""

    name: str
    slices: int = 0
    requests: int = 0
    timelines: int = 0
    errors: int = 0
    first_error: str | None = None  # in the words that came back
    events: int = 0
    by_release: dict[str, int] = field(default_factory=dict)
    latency_ms: list[float] = field(default_factory=list, repr=False)
    stopped: str | None = None
    share: float = 1.0  # of the users with exposures, whose visits these are
    left_out: int = 0  # events of the asked days, after the last that was to be sent

    def summary(self) -> dict:
        """Counts and latency percentiles (milliseconds, gateway and mixer together)."""
        content = {key: value for key, value in asdict(self).items() if key != "latency_ms"}
        if self.latency_ms:
            content["latency_ms"] = {f"p{p}": round(float(np.percentile(self.latency_ms, p)), 1) for p in (50, 95, 99)}
        return content


class Checkpoint:
    """Which slices of a replay are done, in one small file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def report(self, name: str) -> ReplayReport:
        return ReplayReport(**json.loads(self.file.read_text())) if self.file.exists() else ReplayReport(name)

    def forget(self) -> None:
        """The next replay of this name begins anew."""
        self.file.unlink(missing_ok=True)

    def save(self, report: ReplayReport) -> None:
        with replace_atomically(self.file) as temporary:
            temporary.write_text(json.dumps(asdict(report)))


class Replay:
    """One named replay through the gateway of `settings`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.checkpoint = Checkpoint(settings.paths.runs / "replays" / f"{name}.json")
        self.ids = RememberedIds(settings.platform_database_url)

    def run(
        self,
        parts: Iterable[Slice],
        on_progress: Callable[[ReplayReport], None] = lambda report: None,
        stop_when: Callable[[], str | None] = lambda: None,
    ) -> ReplayReport:
        """Send every unfinished slice; `stop_when` is asked before each and within, and names a reason to end early.

        A slice that is broken off is sent again by a later call, events and all. Raises ReplayFailed where
        every request was an error: what is left would be one too. A later call begins anew then.
        """
        report = self.checkpoint.report(self.name)
        report.stopped = None  # what ended an earlier run says nothing of this one
        done = report.slices
        with ThreadPoolExecutor(1, thread_name_prefix="events") as sender:
            sent: Future[None] | None = None
            for part in parts:
                if part.index < done:
                    continue
                report.stopped = stop_when()
                if report.stopped:
                    break
                report.stopped = self._requests_of(part, report, stop_when)
                self._refuse_errors_only(report)
                if report.stopped:
                    break
                if sent is not None:
                    sent.result()  # the events of the slice before
                sent = sender.submit(publish_and_wait, self.settings, part.events)
                report.events += part.events.height
                report.slices = part.index + 1
                on_progress(report)
                kept = self._keep(report, sent)
            if sent is not None:
                sent.result()
                self.checkpoint.save(kept)
        return report

    def _refuse_errors_only(self, report: ReplayReport) -> None:
        if report.requests < TELLING_REQUESTS or report.errors < report.requests:
            return
        self.checkpoint.forget()
        raise ReplayFailed(f"all of the first {report.requests:,} requests were errors, the first: {report.first_error}")

    def _keep(self, report: ReplayReport, sent: Future[None]) -> ReplayReport:
        """Remember the newest slice as done once its events are applied, without waiting for it here; returns what is kept."""
        snapshot = replace(report, by_release=dict(report.by_release), latency_ms=list(report.latency_ms))
        sent.add_done_callback(lambda future: None if future.exception() else self.checkpoint.save(snapshot))
        return snapshot

    def _requests_of(self, part: Slice, report: ReplayReport, stop_when: Callable[[], str | None]) -> str | None:
        """Send the slice's requests; the reason where `stop_when` broke them off."""
        for start in range(0, len(part.visits), STOP_ASKED_EVERY):
            stopped = stop_when() if start else None
            if stopped:
                return stopped
            self._ask(part.visits[start : start + STOP_ASKED_EVERY], report)
        return None

    def _ask(self, visits: list[Visit], report: ReplayReport) -> None:
        answers = asyncio.run(self._requests(visits))
        for answer in answers:
            report.requests += 1
            report.timelines += answer.timeline
            report.errors += answer.said is not None
            report.first_error = report.first_error or answer.said
            report.latency_ms.append(round(answer.latency_ms, 2))
            report.by_release[answer.release] = report.by_release.get(answer.release, 0) + 1

    async def _requests(self, visits: list[Visit]) -> list[Answer]:
        gate = asyncio.Semaphore(CONCURRENCY)
        limits = httpx.Limits(max_connections=2 * CONCURRENCY)
        async with httpx.AsyncClient(base_url=self.settings.gateway_url, limits=limits, timeout=30.0) as client:
            asker = Asker(client, self.ids)

            async def one(position: int, visit: Visit) -> Answer:
                async with gate:
                    return await asker.ask(visit, with_timeline=position % TIMELINE_EVERY == 0)

            return list(await asyncio.gather(*(one(position, visit) for position, visit in enumerate(visits))))


def publish_and_wait(settings: Settings, events: pl.DataFrame) -> None:
    """Send `events` to the broker and return when the stream worker has applied all of them and published the result."""
    from services.intake.producer import EventProducer

    producer = EventProducer(settings)
    try:
        ends = producer.publish(events)
    finally:
        producer.close()
    deadline = time.monotonic() + APPLIED_TIMEOUT_S
    while not _applied(settings, ends):
        if time.monotonic() > deadline:
            raise ReplayFailed(
                f"the stream worker has not applied offsets {ends} within {APPLIED_TIMEOUT_S:.0f} s; "
                f"its log is {settings.paths.logs / 'stream-worker.log'}"
            )
        time.sleep(0.05)


def _applied(settings: Settings, ends: dict[int, int]) -> bool:
    file = settings.paths.stream / "progress.json"
    if not file.exists():
        return False
    offsets = json.loads(file.read_text())["offsets"]
    return all(int(offsets.get(str(partition), 0)) >= end for partition, end in ends.items())
