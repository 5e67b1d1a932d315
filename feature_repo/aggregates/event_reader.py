"""Records read and decoded ahead: while one batch is applied, the next ones come from the broker and become columns."""

from __future__ import annotations

import threading
from queue import Empty, Full, Queue

from feature_repo.aggregates.event_stream import EventStream
from feature_repo.aggregates.stream_apply import Records

AHEAD = 2  # batches that are ready before they are asked for
BATCH_RECORDS = 10_000
BATCH_BYTES = 6_000_000  # a record may hold many events
_POLL_RECORDS = 2_000
_POLL_S = 0.02
_PUT_S = 0.1  # between two looks at whether to stop


class EventReader:
    """A thread that reads `stream` and decodes. Not for several threads; the stream is its own until `close`."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._ready: Queue[list[Records] | Exception] = Queue(AHEAD)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-reader", daemon=True)
        self._thread.start()

    @property
    def behind(self) -> bool:
        """Whether a batch is ready already."""
        return not self._ready.empty()

    def poll(self, timeout_s: float) -> list[Records]:
        """The next batch, by partition and decoded; empty where none came in time. Raises what reading raised."""
        try:
            found = self._ready.get(timeout=timeout_s)
        except Empty:
            return []
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Stop reading, and let go of the broker. Batches that nobody asked for are read again by the next worker."""
        self._stopping.set()
        self._thread.join()
        self._stream.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                batch = self._batch()
                if batch:
                    self._put(batch)
        except Exception as error:  # whatever it is belongs to the thread that polls
            self._put(error)

    def _batch(self) -> list[Records]:
        """What waits at the broker, up to a batch; all of it decoded."""
        batch: list[Records] = []
        records = size = 0
        while records < BATCH_RECORDS and size < BATCH_BYTES:
            polled = self._stream.poll(_POLL_RECORDS, _POLL_S)
            batch += polled
            came = sum(len(one.values) for one in polled)
            records += came
            size += sum(one.bytes for one in polled)
            if came < _POLL_RECORDS:
                break
        joined = Records.joined(batch)
        for one in joined:
            _ = one.decoded  # worked out here, kept there
        return joined

    def _put(self, found: list[Records] | Exception) -> None:
        while not self._stopping.is_set():
            try:
                self._ready.put(found, timeout=_PUT_S)
                return
            except Full:
                continue
