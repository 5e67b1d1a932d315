"""The stream worker: events from the broker into the lake, the online features and the snapshot.

    python -m feature_repo.aggregates.stream_worker

Exactly once: see `stream_state`. Online rows may be ahead of the last save, never behind what progress says: after a kill the
same events are applied again to the state of that save, and write the same rows. SIGTERM and SIGINT save and stop.
"""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import structlog
from confluent_kafka import KafkaException

from feature_repo.aggregates.event_reader import EventReader
from feature_repo.aggregates.event_stream import BrokerWasAway, EventStream
from feature_repo.aggregates.late_posts import place, to_place
from feature_repo.aggregates.stream_apply import LATE_US, Applier
from feature_repo.aggregates.stream_output import OnlineWriter, SnapshotMirror, progress_of, write_progress
from feature_repo.aggregates.stream_parts import drop_uncommitted_parts
from feature_repo.aggregates.stream_seed import WorkerRunning, exclusive, open_lake, seed_stream_state
from feature_repo.aggregates.stream_seeded import SEEDED, is_seeded
from feature_repo.aggregates.stream_state import StateDamaged, StreamState
from feature_repo.feature_store import MATERIALISED
from infra.heartbeat import Heartbeat
from infra.logs import configure_logs
from infra.settings import Settings, apply_environment

__all__ = ["NotSeeded", "StreamWorker", "main", "seed_stream_state"]

log = structlog.get_logger("stream_worker")

POLL_S = 0.05
SHOW_EVERY_S = 0.2  # touched users become visible online
SHOW_SHARE = 4  # under a heavy load they wait for this many times what showing them took
SNAPSHOT_EVERY_S = 2.0
SNAPSHOT_IDLE_S = 1.0  # between two, where nothing else is to do: mixers look every second
SAVE_EVERY_S = 1.0
SAVE_IDLE_S = 0.25
SAVE_SHARE = 2  # a save waits for this many times the duration of the one before: at most a third of the time goes into it
BACKLOG_S = 0.1  # spent at a time on online rows that no request waits for
BACKLOG_SHARE = 10  # while events come, at most one part in so many of the time
BROKER_RETRY_S = 1.0
DOUBTED_S = 15.0  # before it was noticed that the broker was away; what came then is read again
SEEDED_LOOK_S = 1.0
WAITING_TOLD_EVERY_S = 60.0


class NotSeeded(RuntimeError):
    """The stream state was never seeded from the offline tables."""


class StreamWorker:
    """One worker over one state. `step` applies what one poll gives, then shows and saves what is due."""

    def __init__(self, settings: Settings, state: StreamState, doubt_since_ms: int | None = None) -> None:
        """doubt_since_ms: see EventStream."""
        if not state.number(SEEDED):
            raise NotSeeded(
                f"the state under {settings.paths.stream} is not seeded; run the features flow (`mixer run features`)"
            )
        self._settings = settings
        self._state = state
        self._lake = open_lake(settings)
        dropped = drop_uncommitted_parts(state, self._lake)
        if dropped:
            log.info("unsaved lake parts removed, their records are read again", parts=dropped)
        # First of all that is to be closed: there may be no broker.
        stream = EventStream(settings, state, doubt_since_ms=doubt_since_ms)
        self._mirror = SnapshotMirror(settings, self._lake, state)
        self._writer = OnlineWriter(settings, self._lake, state)
        self._applier = Applier(state, self._lake)
        self._events = EventReader(stream)
        self._snapshot: str | None = None
        self._show_next = self._snapshot_at = self._saved_at = 0.0
        self._backlog_next = self._save_took_s = 0.0
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._saving: Future[float] | None = None  # the save under way; gives the seconds it took
        self._stale = True  # the snapshot on disk may be older than the state
        self._told: tuple[str | None, dict[int, int], bool] | None = None  # what `write_progress` said last
        self._materialised = self._materialisation()
        self._show(idle=True, all_of_it=True)

    def step(self) -> int:
        """Apply what one poll gives; returns the records it held."""
        polled = self._events.poll(POLL_S)
        if polled or len(self._state.unplaced):
            self._mirror.refresh()
            self._writer.refresh()
            self._place_late_posts()
        for records in polled:
            applied = self._applier.apply(records, self._mirror.topics)
            log.info("applied", records=len(records.offsets), good=applied.good, repeated=applied.repeated, dead=applied.dead)
        if self._materialisation() != self._materialised:
            self._write_over_materialisation()
        self._show(idle=not polled)
        return sum(len(records.offsets) for records in polled)

    def _place_late_posts(self) -> None:
        """Give events that came before their posts the posts' topics, once the lake has the posts."""
        posts = to_place(self._state, self._mirror.topics)
        if not len(posts):
            return
        while self._applier.owes or self._saving is not None:  # what was applied must be in the lake
            self._begin_save()
            self._note_saved(wait=True)
        self._writer.note_users(place(self._state, self._lake, self._mirror.topics, posts))
        self._stale = True
        log.info("posts came after their events", posts=len(posts))

    def close(self) -> None:
        """Show and save everything that was applied, and let go of the broker and the store."""
        self._show(idle=True, all_of_it=True)
        self._note_saved(wait=True)
        if self._unsaved():
            self._begin_save()
            self._note_saved(wait=True)
        self._saver.shutdown()
        self._writer.close()
        self._events.close()

    def _show(self, *, idle: bool, all_of_it: bool = False) -> None:
        """Show what is due, more of it when nothing else is to do; then save, and tell others how far that is."""
        now = time.monotonic()
        if idle or now >= self._show_next:
            self._show_touched()
            took_s = time.monotonic() - now
            self._show_next = now + max(SHOW_EVERY_S, SHOW_SHARE * took_s)
        if self._stale and (all_of_it or now - self._snapshot_at >= (SNAPSHOT_IDLE_S if idle else SNAPSHOT_EVERY_S)):
            self._snapshot = self._mirror.publish((self._state.number("newest_event_us") or 0) + 1)
            self._snapshot_at, self._stale = time.monotonic(), False
        self._note_saved(wait=False)
        least_s = SAVE_IDLE_S if idle else max(SAVE_EVERY_S, SAVE_SHARE * self._save_took_s)
        if self._unsaved() and (all_of_it or now - self._saved_at >= least_s):
            self._begin_save()
        self._work_off_backlog(idle=idle)

    def _work_off_backlog(self, *, idle: bool) -> None:
        """Online rows that no request waits for: in what time is left, or in a small share of it."""
        began = time.monotonic()
        if not idle and began < self._backlog_next:
            return
        self._writer.write_some(BACKLOG_S, patient=idle)
        self._backlog_next = time.monotonic() + BACKLOG_SHARE * (time.monotonic() - began)

    def _show_touched(self) -> None:
        touched = self._state.engine.shown_rows()
        if any(len(rows) for rows in touched.values()):
            self._mirror.note(touched)
            self._writer.note(touched)
            self._stale = True
        self._writer.write_users()

    def _unsaved(self) -> bool:
        """Whether a save would change anything."""
        return self._applier.owes or self._told != self._to_tell()

    def _begin_save(self) -> None:
        """Copy what changed, and let another thread write it while events go on being applied. One save at a time."""
        if self._saving is not None:
            return
        self._show_touched()
        under_way = self._writer.leave_to_state()
        save = self._applier.capture()
        progress = progress_of(self._state, self._snapshot, self._writer.waiting)
        self._told = self._to_tell()

        def write() -> float:
            began = time.monotonic()
            for one in under_way:
                one.result()  # what progress calls online is online then
            save.write()
            write_progress(self._settings, progress)
            return time.monotonic() - began

        self._saving = self._saver.submit(write)

    def _note_saved(self, *, wait: bool) -> None:
        """Raises what the save raised: what it should have kept is kept by none after it."""
        if self._saving is not None and (wait or self._saving.done()):
            self._save_took_s = self._saving.result()
            self._saving, self._saved_at = None, time.monotonic()

    def _to_tell(self) -> tuple[str | None, dict[int, int], bool]:
        return self._snapshot, self._state.offsets(), self._writer.waiting == 0

    def _materialisation(self) -> float | None:
        file = self._settings.paths.features / MATERIALISED
        return file.stat().st_mtime if file.exists() else None

    def _write_over_materialisation(self) -> None:
        """A batch materialisation put older values online: write ours again for every key that it may have set back."""
        self._materialised = self._materialisation()
        self._writer.refresh()  # it may have read users and posts that we have not
        end_us = json.loads((self._settings.paths.features / MATERIALISED).read_text())["end_us"]
        cells = self._writer.note_changed_since(end_us - LATE_US)
        self._stale = True
        log.info("materialisation seen, newer values are written again", cells=cells)


@contextmanager
def rest_collector() -> Iterator[None]:
    """Let Python's collector rest within the block.

    Decoding a batch makes some 100,000 short-lived objects and no cycle: left to itself the collector walks all of them, and
    everything imported before, again and again.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with exclusive(settings), rest_collector():
        state = StreamState(settings.paths.stream)
        worker: StreamWorker | None = None
        doubt_since_ms: int | None = None
        heartbeat = Heartbeat(settings.heartbeat)
        while not stopping:
            heartbeat.beat()
            try:
                worker = worker or StreamWorker(settings, state, doubt_since_ms)
                worker.step()
            except BrokerWasAway as error:
                log.warning("reading anew", broker=settings.broker, why=str(error))
                doubt_since_ms = round(1_000 * (time.time() - DOUBTED_S))
                if worker is not None:
                    worker.close()
                worker = None
            except KafkaException as error:
                if worker is not None:
                    raise
                log.warning("no broker yet", broker=settings.broker, error=str(error))
                time.sleep(BROKER_RETRY_S)
        if worker is not None:
            worker.close()
        state.close()


def wait_until_seeded(settings: Settings) -> None:
    """Return once there is a state to go on from. A signal ends the waiting as it ends any process: nothing is open yet."""
    told = -math.inf
    while not is_seeded(settings):
        if time.monotonic() - told > WAITING_TOLD_EVERY_S:
            log.info("waiting for the features flow to seed the state", state=str(settings.paths.stream))
            told = time.monotonic()
        time.sleep(SEEDED_LOOK_S)


def main() -> int:
    """Run the worker of this process's settings; returns the exit code, 2 where it cannot start."""
    configure_logs()
    settings = apply_environment()
    wait_until_seeded(settings)
    try:
        run(settings)
    except (NotSeeded, StateDamaged, WorkerRunning) as error:
        log.error(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
