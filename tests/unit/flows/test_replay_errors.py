"""A replay whose requests are errors ends, says what came back, and is begun anew when the cause is mended."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest

from flows.demo.traffic import driver
from flows.demo.traffic.asker import Answer, ReplayFailed, words
from flows.demo.traffic.driver import Replay
from flows.demo.traffic.visits import Visit, slices
from infra.settings import Settings
from tests.unit.flows.test_traffic import NOON, _events

SAID = "422 at /score: product: there is no product 'news'; correct the named fields"


@pytest.fixture
def parts() -> list:
    rows = [
        (user, 10, "impression", "news", NOON + timedelta(hours=3 * hour), f"r{user}-{hour}")
        for user in range(15)
        for hour in range(3)
    ]
    return list(slices(_events(*rows), share=1.0, seed=7, name="replay"))


def _replay(tmp_path, monkeypatch, refused) -> Replay:
    """A replay whose visits of users for which `refused(user_id)` holds are errors; events go nowhere."""
    monkeypatch.setattr(driver, "publish_and_wait", lambda settings, events: None)

    async def answers(self, visits: list[Visit]) -> list[Answer]:
        await asyncio.sleep(0)
        return [_answer(visit, refused(visit.user_id)) for visit in visits]

    monkeypatch.setattr(Replay, "_requests", answers)
    return Replay(Settings(home=tmp_path), "replay")


def _answer(visit: Visit, refused: bool) -> Answer:
    return Answer("r1", 3.0, timeline=False, said=SAID if refused else None)


def test_requests_that_are_all_errors_end_the_replay_with_the_first_ones_words(tmp_path, monkeypatch, parts):
    replay = _replay(tmp_path, monkeypatch, lambda user: True)
    with pytest.raises(ReplayFailed, match=r"all of the first 30 requests were errors, the first: 422 at /score: .*'news'"):
        replay.run(parts)
    mended = _replay(tmp_path, monkeypatch, lambda user: False)
    assert mended.run(parts).summary()["requests"] == 45


def test_some_errors_are_counted_with_the_first_ones_words(tmp_path, monkeypatch, parts):
    report = _replay(tmp_path, monkeypatch, lambda user: user == 3).run(parts).summary()
    assert (report["requests"], report["errors"], report["first_error"]) == (45, 3, SAID)


def test_an_error_is_told_by_the_apis_own_message():
    request = httpx.Request("POST", "http://door.test/score")
    body = {"error": {"code": "unknown_product", "message": "there is no product 'news'", "remedy": "choose another"}}
    assert words(httpx.Response(422, json=body, request=request)) == "422 at /score: there is no product 'news'; choose another"
    assert words(httpx.Response(502, text="bad gateway", request=request)) == "502 at /score: bad gateway"


def test_a_replay_is_stopped_within_a_slice_and_sends_that_slice_again(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(driver, "STOP_ASKED_EVERY", 10)
    sent = []
    replay = _replay(tmp_path, monkeypatch, lambda user: False)
    monkeypatch.setattr(driver, "publish_and_wait", lambda settings, events: sent.append(events.height))
    asked = iter([None, None, None, "decided"])  # before a slice of 15 visits, within it, before the next, within that
    stopped = replay.run(parts, stop_when=lambda: next(asked))
    assert (stopped.stopped, stopped.slices, stopped.requests, sent) == ("decided", 1, 25, [15])
    again = _replay(tmp_path, monkeypatch, lambda user: False).run(parts)
    assert (again.stopped, again.slices, again.requests) == (None, 3, 45)  # what was broken off counts once
