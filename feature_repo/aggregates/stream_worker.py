"""The stream worker: events from the broker into the lake, the online features and the snapshot.

    python -m feature_repo.aggregates.stream_worker

Exactly once: see `stream_apply`. Online rows and snapshots are written after the commit; keys that still wait for it are
part of the committed state, so a kill delays them and loses none. SIGTERM and SIGINT finish the batch and stop.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from types import FrameType

import structlog
from confluent_kafka import KafkaException

from feature_repo.aggregates.catalogue import Key
from feature_repo.aggregates.event_stream import EventStream
from feature_repo.aggregates.stream_apply import apply_messages, drop_uncommitted_parts
from feature_repo.aggregates.stream_output import OnlineWriter, SnapshotMirror, write_progress
from feature_repo.aggregates.stream_seed import SEEDED, STATE_FILE, WorkerRunning, exclusive, open_lake, seed_stream_state
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.feature_store import MATERIALISED
from infra.settings import Settings, apply_environment

__all__ = ["NotSeeded", "StreamWorker", "main", "seed_stream_state"]

log = structlog.get_logger("stream_worker")

BATCH_MESSAGES = 2_000
POLL_S = 0.2
SNAPSHOT_EVERY_S = 2.0
CANDIDATES_EVERY_S = 60.0  # posts, authors, topics: mixers read those from the snapshot
BROKER_RETRY_S = 1.0
LATE_US = 24 * 3_600 * 1_000_000  # events this much older than a materialisation may have missed it


class NotSeeded(RuntimeError):
    """The stream state was never seeded from the offline tables."""


class StreamWorker:
    """One worker over one state file. `step` applies at most one micro-batch and shows what became due."""

    def __init__(self, settings: Settings, state: StreamState) -> None:
        if not state.number(SEEDED):
            raise NotSeeded(f"{settings.paths.stream / STATE_FILE} is not seeded; run the features flow (`mixer run features`)")
        self._settings = settings
        self._state = state
        self._lake = open_lake(settings)
        dropped = drop_uncommitted_parts(state, self._lake)
        if dropped:
            log.info("uncommitted lake parts removed, their messages are read again", parts=dropped)
        self._mirror = SnapshotMirror(settings, self._lake, state)
        self._writer = OnlineWriter(settings, self._lake, state)
        self._events = EventStream(settings, state)
        self._snapshot: str | None = None
        self._snapshot_at = self._candidates_at = 0.0
        self._stale = True  # the snapshot on disk may be older than the state
        self._materialised = self._materialisation()
        self._shown: dict[int, int] | None = None
        self._show(idle=True)

    def step(self) -> int:
        """Apply one micro-batch; returns the messages it held."""
        messages = self._events.poll(BATCH_MESSAGES, POLL_S)
        if messages:
            self._mirror.refresh()
            applied = apply_messages(self._state, self._lake, self._mirror.topics, messages)
            self._mirror.update(applied.touched)
            self._stale = self._stale or bool(applied.touched)
            log.info("applied", messages=len(messages), good=applied.good, repeated=applied.repeated, dead=applied.dead)
        if self._materialisation() != self._materialised:
            self._write_over_materialisation()
        self._show(idle=not messages)
        return len(messages)

    def close(self) -> None:
        """Show everything that was applied, and let go of the broker."""
        self._show(idle=True)
        self._write_candidates()
        self._events.close()

    def _show(self, *, idle: bool) -> None:
        """Users at once, the snapshot when due or when nothing else is left, then the progress; candidates' rows last."""
        before = self._snapshot
        written = self._writer.write(Key.USER)
        now = time.monotonic()
        if self._stale and (idle or now - self._snapshot_at >= SNAPSHOT_EVERY_S):
            newest = self._state.number("newest_event_us")
            self._snapshot = self._mirror.publish((newest or 0) + 1)
            self._snapshot_at, self._stale = now, False
        offsets = self._state.offsets()
        if written or self._snapshot != before or offsets != self._shown:
            write_progress(self._settings, self._state, self._snapshot, offsets=offsets)
            self._shown = offsets
        if now - self._candidates_at >= CANDIDATES_EVERY_S:
            self._write_candidates()

    def _write_candidates(self) -> None:
        """Posts, authors and topics into the online store. No request waits for them: mixers read them from the snapshot."""
        self._writer.write(Key.POST, Key.AUTHOR, Key.TOPIC)
        self._candidates_at = time.monotonic()

    def _materialisation(self) -> float | None:
        file = self._settings.paths.features / MATERIALISED
        return file.stat().st_mtime if file.exists() else None

    def _write_over_materialisation(self) -> None:
        """A batch materialisation put older values online: write ours again for every key that it may have set back."""
        self._materialised = self._materialisation()
        end_us = json.loads((self._settings.paths.features / MATERIALISED).read_text())["end_us"]
        with self._state.transaction():
            marked = self._state.mark_changed_since(end_us - LATE_US)
        self._stale = True
        log.info("materialisation seen, newer values are written again", keys=marked)


def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    # Decoding a batch's histories makes some 100,000 short-lived lists and no cycle: left to itself the collector walks all
    # of them, and everything imported before, again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with exclusive(settings):
        state = StreamState(settings.paths.stream / STATE_FILE)
        worker: StreamWorker | None = None
        while not stopping and worker is None:
            try:
                worker = StreamWorker(settings, state)
            except KafkaException as error:
                log.warning("no broker yet", broker=settings.broker, error=str(error))
                time.sleep(BROKER_RETRY_S)
        while not stopping and worker is not None:
            worker.step()
        if worker is not None:
            worker.close()
        state.close()


def main() -> int:
    """Run the worker of this process's settings; returns the exit code, 2 where it cannot start."""
    settings = apply_environment()
    try:
        run(settings)
    except (NotSeeded, WorkerRunning) as error:
        log.error(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
