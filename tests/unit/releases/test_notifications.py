"""People are told what became of releases, each thing once, by a real webhook, whatever is restarted meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.process_status import ProcessStatus, StatusFile
from services.releases.ledger import Ledger
from services.releases.notifications import TRIES, Notifier, NotifierError, apprise_senders
from tests.free_ports import free_port
from tests.unit.releases.made_releases import built


class Hook:
    """A webhook: what it was sent, and the status that it answers."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.bodies: list[str] = []
        self.status = 200


@pytest.fixture
def hook(tmp_path) -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if made.status == 200:
                made.titles.append(content["title"])
                made.bodies.append(content["message"])
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "addresses.txt").write_text(f"json://127.0.0.1:{server.server_port}/hook\n")
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path / 'platform.db'}")
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    return ledger


def notifier(tmp_path) -> Notifier:
    senders = apprise_senders(tmp_path / "addresses.txt")
    made = Notifier(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path, senders, "http://control.room/")
    made._thread = threading.Thread()  # the looks are the test's
    made.start()
    return made


def test_each_thing_is_told_once_from_the_start_on(hook, ledger, tmp_path):
    first = notifier(tmp_path)
    ledger.transition("r2", "canary", "controller", "5 % of users", percent=5)
    ledger.transition("r2", "awaiting_approval", "controller", "no harm was found")
    assert first.look()
    assert hook.titles == ["Home Mixer: r2 is a canary for 5 % of users", "Home Mixer: r2 waits for your answer"]
    assert hook.bodies[1].startswith("no harm was found\nby controller at ")
    assert hook.bodies[1].endswith("http://control.room/")
    ledger.transition("r2", "rolled_back", "judge", "log loss is worse")
    again = notifier(tmp_path)
    assert again.look()
    assert again.look()
    assert hook.titles[2:] == ["Home Mixer: r2 was rolled back"]


def test_what_nobody_took_is_sent_again_and_nothing_is_skipped(hook, ledger, tmp_path):
    one = notifier(tmp_path)
    hook.status = 500
    ledger.transition("r2", "canary", "controller", "5 % of users", percent=5)
    ledger.transition("r2", "rolled_back", "judge", "worse")
    assert not one.look()
    hook.status = 200
    assert one.look()
    assert [title.rpartition(" ")[0] for title in hook.titles] == [
        "Home Mixer: r2 is a canary for 5 % of",
        "Home Mixer: r2 was rolled",
    ]


def test_a_process_in_a_crash_loop_is_told_when_it_begins(hook, ledger, tmp_path):
    one, status = notifier(tmp_path), StatusFile(tmp_path)
    status.write({"gateway": ProcessStatus(4, "2026-01-01T00:00:00", "port taken")})
    assert one.look()
    assert one.look()
    status.write({"gateway": ProcessStatus(5)})
    assert one.look()
    status.write({"gateway": ProcessStatus(9, "2026-01-02T00:00:00", "port taken")})
    assert one.look()
    assert hook.titles == ["Home Mixer: process gateway dies again and again"] * 2


def test_a_file_without_an_address_is_refused_without_a_word_of_what_it_holds(tmp_path):
    with pytest.raises(NotifierError, match=r"no\.txt, which is no file"):
        apprise_senders(tmp_path / "no.txt")
    (tmp_path / "odd.txt").write_text("nonsense://user:secret@host\n")
    with pytest.raises(NotifierError, match="holds no address") as refused:
        apprise_senders(tmp_path / "odd.txt")
    assert "secret" not in str(refused.value)


def test_an_address_that_is_dead_keeps_the_others_from_nothing(hook, ledger, tmp_path):
    dead = free_port()
    with (tmp_path / "addresses.txt").open("a") as file:
        file.write(f"json://127.0.0.1:{dead}/hook\n")
    one = notifier(tmp_path)
    ledger.transition("r2", "canary", "controller", "5 % of users", percent=5)
    ledger.transition("r2", "rolled_back", "judge", "worse")
    looks = [one.look() for _ in range(2 * TRIES)]
    assert looks[-1]
    assert [title.rpartition(" ")[0] for title in hook.titles] == [
        "Home Mixer: r2 is a canary for 5 % of",
        "Home Mixer: r2 was rolled",
    ]
