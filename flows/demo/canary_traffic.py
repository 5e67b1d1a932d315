"""Who visits while a canary of the demo is judged: the log's users of the canary days, or the simulated world's people."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Any

from rich.console import Console

from flows.steps.lakes import dataset_marker, split_days, splits_of
from flows.steps.too_little import TooLittleData
from infra.settings import Settings
from monitoring.canary.looks import Looks
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState

REPLAY = "canary-days"  # both canaries share the days: the second goes on where the first stopped
SLICE_EVENTS = 6_000  # that go out together; on a thin log two hours hold fewer
TOLERATED_ERRORS = 0.1  # of the visits; where more were errors, they are why the judge has too little
SPENT_GRACE_S = 30.0  # after the last visit, wait this long for a verdict
SPEED = 800.0  # world time per real time: a day of the world's people in two minutes, about what two cores keep up with


class TrafficSpent(TooLittleData):
    """All days for the canaries were replayed, and the judge has not decided."""


class TrafficFailed(RuntimeError):
    """The visits were errors, so that no release could be judged by them."""


def is_simulated(settings: Settings) -> bool:
    """Whether this home's users are the simulated world's, who can live on the platform."""
    return dataset_marker(settings)["name"] == "world"


class Traffic(ABC):
    """Visitors in a thread of their own, until the canary is decided."""

    def __init__(self, settings: Settings, ledger: Ledger, release_id: str, most_events: int | None = None) -> None:
        self.settings, self.ledger, self.release_id, self.most_events = settings, ledger, release_id, most_events
        self.report: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._abandoned = threading.Event()

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="canary-traffic")
        self._thread.start()

    def abandon(self) -> None:
        """End soon; what was sent stays sent."""
        self._abandoned.set()

    def finish(self) -> dict[str, Any] | None:
        """Wait for the traffic to end; raises what it raised."""
        if self._thread is not None:
            self._thread.join()
        self.raise_error()
        return self.report

    def raise_error(self) -> None:
        """Raise what ended the traffic, if something did: a canary without traffic would only wait for its time to pass."""
        if self.error is not None:
            raise self.error

    def spent(self) -> TrafficSpent | TrafficFailed | None:
        """Why the canary can't be judged, where nobody comes any more; None while somebody does, as a world's people do."""
        return None

    @abstractmethod
    def visit(self) -> None:
        """Send the visitors, and keep what became of them in `report`."""

    def decided(self) -> str | None:
        """Why the visitors are no longer wanted; None while they are."""
        if self._abandoned.is_set():
            return "the stage was stopped"
        state = self.ledger.state(self.release_id)
        return None if state in (ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL) else f"{self.release_id} is {state}"

    def _run(self) -> None:
        try:
            self.visit()
        except BaseException as error:  # handed to the stage's own thread, which raises it
            self.error = error


class ReplayedTraffic(Traffic):
    """The canary days, replayed."""

    spent_at: float | None = None  # time.monotonic() when the last visit was over

    def spent(self) -> TrafficSpent | TrafficFailed | None:
        """As Traffic: every visit is over for a while."""
        if self.spent_at is None or time.monotonic() - self.spent_at < SPENT_GRACE_S or self.decided() is not None:
            return None
        return spent_traffic(self.release_id, self.report or {}, self._asked_for())

    def visit(self) -> None:
        """As Traffic."""
        from flows.replay import replay_days  # it brings Prefect, which the tour's first page should not wait for

        days = list(split_days(self.settings)[2])
        span = splits_of(self.settings).canary
        limits = {"most_events": self.most_events, "slice_events": SLICE_EVENTS}
        report = replay_days(REPLAY, days, 1.0, stop_when=self.decided, span=span, **limits)
        self.report = report.summary()
        self.spent_at = None if report.stopped else time.monotonic()

    def _asked_for(self) -> str:
        """What the judge still needed at its last look, in its own words."""
        look = Looks(self.settings.platform_database_url).newest(self.release_id)
        return "; ".join(look["reasons"]) if look else "the judge has seen no visit"


class LivingTraffic(Traffic):
    """The world's people, who live on the platform from where the last canary left them. Simulated."""

    def visit(self) -> None:
        """As Traffic."""
        from flows.demo.traffic.world_home import Asked, let_live

        leaving = threading.Event()
        watching = threading.Thread(target=self._watch, args=(leaving,), name="canary-decided", daemon=True)
        watching.start()
        with Console(stderr=True, quiet=True) as console:
            self.report = let_live(self.settings, Asked(SPEED, None, None, None, None), leaving, console)
        leaving.set()
        pages, errors = self.report["pages"], self.report["page_errors"]
        if errors > TOLERATED_ERRORS * (pages + errors):
            raise TrafficFailed(f"{errors:,} of {pages + errors:,} pages were errors, the first: {self.report['first_error']}")

    def _watch(self, leaving: threading.Event) -> None:
        while not leaving.wait(0.5):
            if self.decided() is not None:
                leaving.set()


def spent_traffic(release_id: str, report: dict[str, Any], asked_for: str) -> TrafficSpent | TrafficFailed:
    """Why the replayed visits led to no verdict: they were errors, or the judge asked for more (`asked_for`)."""
    visits, errors = report["requests"], report.get("errors", 0)
    if errors > visits * TOLERATED_ERRORS:
        return TrafficFailed(f"{errors:,} of {visits:,} visits were errors, the first: {report['first_error']}")
    part = f"the first {report['events']:,} events of " if report.get("left_out") else ""
    return TrafficSpent(
        f"all {visits:,} visits of {part}the canary days are spent and {release_id} has no verdict: {asked_for}"
    )
