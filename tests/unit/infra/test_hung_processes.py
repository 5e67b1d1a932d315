"""What lives and does nothing is killed and started again; what is only slow to start, or was never heard, is left alone."""

from __future__ import annotations

import errno
import os
import sys
import time

import pytest

from infra import hung_processes
from infra.hung_processes import HungProcesses
from infra.process_keeper import ProcessKeeper
from infra.process_spec import ProcessSpec, Running
from infra.settings import Settings
from infra.supervisor import free_port

SILENT_SERVER = """
import http.server, sys, time
class Once(http.server.SimpleHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Once.asked += 1
        if Once.asked > 1:
            time.sleep(600)
        self.send_error(503)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Once).serve_forever()
"""
BEATING = """
import time
from infra.heartbeat import Heartbeat
from infra.settings import Settings
heartbeat = Heartbeat(Settings().heartbeat)
for _ in range(3):
    heartbeat.beat()
    time.sleep(1.1)
time.sleep(600)
"""


@pytest.fixture
def keeper(tmp_path):
    keeper = ProcessKeeper(Settings(home=tmp_path))
    yield keeper
    keeper.supervisor.stop_all()


def _events(keeper: ProcessKeeper, name: str) -> list[str]:
    return [event.what for event in keeper.events.newest() if event.process == name]


def _until_killed_for_hanging(keeper: ProcessKeeper, name: str, first: int) -> None:
    """Look until it is another process; the keeper's clock runs as fast as ours."""
    deadline = time.monotonic() + 30
    while (found := keeper.supervisor.find(name)) is None or found.pid == first:
        assert time.monotonic() < deadline
        keeper.look(time.monotonic())
        time.sleep(0.02)


def test_a_server_that_answered_once_and_no_more_is_killed_and_started_again(keeper, monkeypatch):
    monkeypatch.setattr(hung_processes, "ASK_EVERY_S", 0.1)
    port = free_port("127.0.0.1", 18_400)
    command, address = (sys.executable, "-c", SILENT_SERVER, str(port)), f"http://127.0.0.1:{port}/"
    first = keeper.supervisor.start(ProcessSpec("server", command, ready_url=address, ready_port=port, silent_s=1.0))
    _until_killed_for_hanging(keeper, "server", first.pid)
    assert _events(keeper, "server")[:3] == ["hung", "died", "restarted"]


def test_a_loop_that_stops_turning_is_killed_and_started_again(keeper):
    first = keeper.supervisor.start(ProcessSpec("loop", (sys.executable, "-c", BEATING), beats=True, silent_s=2.5))
    _until_killed_for_hanging(keeper, "loop", first.pid)
    assert _events(keeper, "loop")[:3] == ["hung", "died", "restarted"]


def test_what_has_given_no_sign_yet_is_starting_and_a_keeper_that_stood_still_blames_nobody(tmp_path):
    running = Running("server", 1, 0.0, 7, ("x",))
    spec, beat = ProcessSpec("server", ("x",), beats=True, silent_s=1.0), tmp_path / "server.beat"
    hung = HungProcesses()

    def silent(now: float) -> float:
        hung.begin(now)
        return hung.silent_for(running, spec, beat, now)

    assert [silent(0.0), silent(10.0)] == [0.0, 0.0]
    beat.touch()
    assert [silent(11.0), silent(15.0)] == [0.0, 4.0]
    os.utime(beat, (1.0, 1.0))  # the clock was set back
    assert silent(16.0) == 0.0
    assert silent(16.0 + hung_processes.STOOD_STILL_S + 1) == 0.0


def test_a_disk_that_is_full_keeps_nothing_hung_alive(keeper, monkeypatch):
    first = keeper.supervisor.start(ProcessSpec("loop", (sys.executable, "-c", BEATING), beats=True, silent_s=2.5))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keeper.events, "add", full)
    _until_killed_for_hanging(keeper, "loop", first.pid)
