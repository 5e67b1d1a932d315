"""Freshness from outside the stream worker: a real broker, the gateway's metrics, and the control room."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka import KafkaException
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.stream_backlog import BacklogReader
from infra.settings import Settings
from services.gateway.door import Door
from services.gateway.pages.alerts import alerts_view
from services.intake.producer import EventProducer
from tests.free_ports import free_port
from tests.integration.gateway_rig import running_gateway
from tests.local_broker import local_broker

pytestmark = pytest.mark.slow

MAY_2022_US = 1_651_579_200_000_000


def save(settings: Settings, offset: int, newest_us: int = MAY_2022_US) -> None:
    """What the stream worker writes when it has saved everything before `offset`."""
    settings.paths.stream.mkdir(parents=True, exist_ok=True)
    content = {"offsets": {"0": offset}, "newest_event_us": newest_us, "waiting": 7, "unanswered": 5, "written_at": time.time()}
    (settings.paths.stream / "progress.json").write_text(json.dumps(content))


def gauges(settings: Settings, door: Door) -> dict[tuple[str, ...], float]:
    text = generate_latest(door.metrics.registry).decode()
    samples = (sample for metric in text_string_to_metric_families(text) for sample in metric.samples)
    return {(sample.name.removeprefix("home_mixer_"), *sample.labels.values()): sample.value for sample in samples}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with local_broker(tmp_path_factory.mktemp("broker")) as port:
        yield port


def test_records_that_wait_are_counted_with_the_time_they_were_sent(broker, tmp_path):
    settings = Settings(home=tmp_path, broker_port=broker)
    producer = EventProducer(settings)
    before = time.time()
    sent = [producer.send("events", "7", {"number": number}) for number in range(30)]
    assert [one.result(timeout=20) for one in sent]
    door, reader = Door.open(settings), BacklogReader(settings.broker)
    for offset, waiting in ((0, 30), (18, 12), (30, 0)):
        save(settings, offset)
        door.watch.look(reader)
        found = gauges(settings, door)
        assert found[("stream_records_waiting",)] == waiting
        assert found[("stream_broker_seen",)] == 1
        assert found[("stream_unanswered_actions",)] == 5
        behind = found[("stream_behind_seconds",)]
        assert (behind == 0) if waiting == 0 else (0 < behind <= time.time() - before + 1)
    # Logged days are old by nature: that they are is a label, and no alert.
    assert found[("stream_newest_event_age_seconds", "replayed")] > 86_400 * 365
    view = alerts_view(door)
    assert [state.rule.name for state in view.states if state.firing] == []
    assert view.said == "Every event that the broker holds is applied."
    assert "replayed log" in view.event_said
    reader.close()
    producer.close()


def test_a_worker_that_stands_still_while_events_wait_fires(broker, tmp_path):
    settings = Settings(home=tmp_path, broker_port=broker, freshness_bound_s=0.001)
    producer = EventProducer(settings)
    producer.send("events", "7", {"number": 1}).result(timeout=20)
    save(settings, 0, round(time.time() * 1e6) - 3_600_000_000)
    door, reader = Door.open(settings), BacklogReader(settings.broker)
    door.watch.look(reader)
    view = alerts_view(door)
    assert {state.rule.name for state in view.states if state.firing} == {"FeaturesNotFresh", "NoEvents"}
    assert "events wait, the oldest for" in view.said
    reader.close()
    producer.close()


def test_without_a_broker_freshness_is_not_known_and_that_is_said(tmp_path):
    settings = Settings(home=tmp_path, broker_port=free_port())
    door, reader = Door.open(settings), BacklogReader(settings.broker)
    with pytest.raises(KafkaException):
        reader.look({})
    assert ("stream_broker_seen",) not in gauges(settings, door)  # nobody has looked yet
    door.watch.look(reader)
    save(settings, 3)
    found = gauges(settings, door)
    assert found[("stream_broker_seen",)] == 0
    assert ("stream_behind_seconds",) not in found
    assert [state.rule.name for state in alerts_view(door).states if state.firing] == ["BrokerNotSeen"]
    reader.close()


def test_the_control_room_shows_alerts_and_links_the_report_pages(tmp_path):
    with running_gateway(tmp_path) as rig:
        reports = rig.settings.paths.reports
        bare = rig.client.get("/").text
        assert "/reports/consistency/" not in bare
        assert "The stream worker has not saved yet." in bare
        for folder in ("consistency", "feature_quality"):
            (reports / folder).mkdir(parents=True)
            (reports / folder / "index.html").write_text("a page")
        family = {"family": "user_author", "share_of_vectors": 0.25}
        (reports / "consistency" / "latest.json").write_text(json.dumps({"families": [family]}))
        page = rig.client.get("/").text
        assert 'href="/reports/consistency/index.html"' in page
        assert 'href="/reports/feature_quality/index.html"' in page
        assert "open the consistency report" in page.lower()
        assert "<code>docs/releases.md#servedfeaturesdiffer</code>" in page
        text = rig.client.get("/metrics").text
        assert 'home_mixer_consistency_differing_share{family="user_author"} 0.25' in text
