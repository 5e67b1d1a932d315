"""Simulated events sent to the broker as clients send them: JSON, one event a message, or a client's batch as one array.

    python -m tests.bench.event_sender BROKER FILE EVENTS_PER_S

sends the events of a Parquet file at an even pace, each as if it happened when it is sent.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import polars as pl

from feature_repo.broker_topics import EVENTS_TOPIC
from feature_repo.contracts import EVENTS

if TYPE_CHECKING:
    from confluent_kafka import Producer

TICK_S = 0.002
FLUSH_S = 60.0
_ROWS_AT_ONCE = 20_000


class NotDelivered(RuntimeError):
    """The broker did not take every message in time."""


def send_all(broker: str, events: pl.DataFrame, batch: int = 1) -> int:
    """Send events (columns of `event_log.read_events`) in messages of `batch` events; returns how many messages those are."""
    producer, sent = _producer(broker, linger_ms=20), 0
    for rows in _messages(events).iter_slices(_ROWS_AT_ONCE // batch * batch):
        content = rows.to_dicts()
        for start in range(0, len(content), batch):
            told = content[start] if batch == 1 else content[start : start + batch]
            _produce(producer, content[start], told)
            sent += 1
    _flush(producer)
    return sent


def send_paced(broker: str, events: pl.DataFrame, events_per_s: float) -> None:
    """Send one event a message at an even pace; `occurred_at` is the moment of sending."""
    producer, content = _producer(broker, linger_ms=2), _messages(events).to_dicts()
    began, sent = time.monotonic(), 0
    while sent < len(content):
        due = min(len(content), int((time.monotonic() - began) * events_per_s))
        for event in content[sent:due]:
            event["occurred_at"] = time.time_ns() // 1_000
            _produce(producer, event, event)
        sent = due
        producer.poll(TICK_S)
    _flush(producer)


def _messages(events: pl.DataFrame) -> pl.DataFrame:
    rows = events.rename({"at": "occurred_at"})
    return rows.select(name if name in rows.columns else pl.lit(None).alias(name) for name in EVENTS.names)


def _producer(broker: str, linger_ms: int) -> Producer:
    from confluent_kafka import Producer

    return Producer(
        {
            "bootstrap.servers": broker,
            "enable.idempotence": True,
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 2,
        }
    )


def _produce(producer: Producer, first: dict, told: dict | list[dict]) -> None:
    """Queue a message, keyed by the user of its first event; waits while the queue is full."""
    key, value = str(first["user_id"]).encode(), orjson.dumps(told)
    while True:
        try:
            producer.produce(EVENTS_TOPIC, value, key=key)
            return
        except BufferError:
            producer.poll(0.05)


def _flush(producer: Producer) -> None:
    left = producer.flush(FLUSH_S)
    if left:
        raise NotDelivered(f"the broker did not take {left} messages within {FLUSH_S:.0f} s; see its log")


if __name__ == "__main__":
    send_paced(sys.argv[1], pl.read_parquet(Path(sys.argv[2])), float(sys.argv[3]))
