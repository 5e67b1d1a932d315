"""Watches the stream worker from outside: what it saved, and what waits for it at the broker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from confluent_kafka import KafkaException

from feature_repo.stream_backlog import BacklogReader
from infra.settings import Settings
from monitoring.freshness import Backlog, Freshness, freshness, read_progress

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


class StreamWatch:
    """Looks at the broker in a thread of its own, so that no request and no scrape waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backlog: Backlog | None = None
        self.looked = False  # whether a look was taken: before the first, an unseen broker means nothing
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stream-watch", daemon=True)

    def start(self) -> None:
        """Begin to look; the first look is taken after LOOK_EVERY_S."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def freshness(self) -> Freshness:
        """How fresh the features are now: the worker's last word, and the broker as it was last seen."""
        return freshness(read_progress(self._settings.paths.stream), self._backlog, time.time())

    def look(self, reader: BacklogReader) -> None:
        """Take one look."""
        progress = read_progress(self._settings.paths.stream)
        saved: Mapping[str, int] = {} if progress is None else progress["offsets"]
        try:
            self._backlog = Backlog(*reader.look({int(partition): offset for partition, offset in saved.items()}))
        except KafkaException as error:
            if self._backlog is not None:
                logger.warning("broker %s is not seen: %s", self._settings.broker, error)
            self._backlog = None
        self.looked = True

    def _watch(self) -> None:
        reader: BacklogReader | None = None
        while not self._closing.wait(LOOK_EVERY_S):
            reader = reader or BacklogReader(self._settings.broker)
            self.look(reader)
        if reader is not None:
            reader.close()
