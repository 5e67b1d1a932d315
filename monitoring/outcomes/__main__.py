"""`python -m monitoring.outcomes`: joins what was served with what people did next, until SIGTERM."""

from __future__ import annotations

import threading

import structlog
from confluent_kafka import KafkaException

from infra.heartbeat import Heartbeat
from infra.interrupts import asked_to_leave
from infra.logs import configure_logs
from infra.settings import apply_environment
from monitoring.outcomes.evidence import Outcomes
from monitoring.outcomes.page import DAY_US, engagement_weights
from monitoring.outcomes.read_records import ReadRecords
from monitoring.outcomes.reader import OutcomeReader
from monitoring.outcomes.store import OutcomeStore, Overtaken

BROKER_RETRY_S = 1.0

log = structlog.get_logger("outcomes")


def main() -> None:
    """Read and store; without a broker, try again."""
    leaving = asked_to_leave()
    configure_logs()
    settings = apply_environment()
    weights = engagement_weights(settings.engagement_weights)
    kept_us = round(settings.outcomes_kept_days * DAY_US)
    store = OutcomeStore(settings.outcomes_url, weights, round(settings.label_wait_s * 1e6), kept_us)
    if settings.broker_address is None:
        read = ReadRecords(settings, Outcomes(settings.outcomes_url))
        threading.Thread(target=read.keep_deleting, args=(leaving,), name="read-records", daemon=True).start()
    reader: OutcomeReader | None = None
    heartbeat = Heartbeat(settings.heartbeat)
    while not leaving.is_set():
        heartbeat.beat()
        try:
            if reader is None:
                reader = OutcomeReader(settings, store)
            reader.step()
        except (KafkaException, Overtaken) as error:
            log.warning("not taken in; reading anew", broker=settings.broker, error=str(error))
            if reader is not None:
                reader.close()
                reader = None
            leaving.wait(BROKER_RETRY_S)
    if reader is not None:
        reader.close()


if __name__ == "__main__":
    main()
