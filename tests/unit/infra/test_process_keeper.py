"""The process keeper starts again what dies, with all that its leader left, and never what was stopped on purpose."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra import processes
from infra.process_events import ProcessEvents
from infra.process_keeper import ProcessKeeper
from infra.process_members import runs
from infra.process_spec import ProcessSpec
from infra.process_status import ProcessStatus, StatusFile
from infra.restarts import LOOP_DEATHS, STEADY_S
from infra.settings import Settings
from infra.supervisor import Supervisor, free_port

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# A server whose work is done by a child with a session of its own, as a launcher of another program does it.
LAUNCHER = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], start_new_session=True).wait()
"""
SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def keeper(tmp_path):
    keeper = ProcessKeeper(Settings(home=tmp_path))
    yield keeper
    keeper.supervisor.stop_all()


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)


def _loops_until_now(keeper: ProcessKeeper, name: str) -> float:
    """A process that is in a crash loop, and lives from its next start on; returns the moment of the next look."""
    go = keeper.supervisor.paths.home / "go"
    program = f"import pathlib, time\nif pathlib.Path({str(go)!r}).exists(): time.sleep(600)"
    keeper.supervisor.start(ProcessSpec(name, (sys.executable, "-c", program)))
    now = 0.0
    while not _looping(keeper):
        _until_dead(keeper.supervisor, name)
        keeper.look(now)
        now += 30.0
    go.touch()
    return now


def _looping(keeper: ProcessKeeper) -> dict[str, ProcessStatus]:
    return StatusFile(keeper.supervisor.paths.pids).looping()


def _events(keeper: ProcessKeeper, name: str) -> list[str]:
    return [event.what for event in keeper.events.newest() if event.process == name]


def test_a_process_that_dies_is_started_again_and_told(keeper):
    first = keeper.supervisor.start(ProcessSpec("worker", SLEEPER))
    keeper.look(0.0)
    _kill(first.pid)
    keeper.look(1.0)
    second = keeper.supervisor.find("worker")
    assert second is not None and second.pid != first.pid
    assert _events(keeper, "worker") == ["died", "restarted"]
    keeper.look(2.0)
    assert keeper.supervisor.find("worker") == second


def test_what_was_stopped_on_purpose_stays_stopped(keeper):
    keeper.supervisor.start(ProcessSpec("worker", SLEEPER))
    keeper.look(0.0)
    keeper.supervisor.stop("worker")
    keeper.look(1.0)
    assert keeper.supervisor.find("worker") is None
    assert _events(keeper, "worker") == []


def test_a_new_manager_takes_over_what_runs(keeper):
    running = keeper.supervisor.start(ProcessSpec("worker", SLEEPER))
    ProcessKeeper(keeper.supervisor.settings).look(0.0)
    assert keeper.supervisor.find("worker") == running


def test_a_child_that_a_killed_leader_left_at_its_port_gives_way(keeper):
    port = free_port("127.0.0.1", 18_200)
    command = (sys.executable, "-c", LAUNCHER, SERVER, str(port))
    spec = ProcessSpec("broker", command, ready_url=f"http://127.0.0.1:{port}/", ready_port=port, ready_timeout_s=20)
    first = keeper.supervisor.start(spec)
    keeper.supervisor.wait_ready(spec)
    keeper.look(0.0)
    orphan = psutil.Process(first.pid).children()[0]
    _kill(first.pid)
    assert orphan.is_running()
    keeper.look(1.0)
    assert not runs(orphan)
    keeper.supervisor.wait_ready(spec)
    assert "did not start" not in _events(keeper, "broker")


def test_what_a_leader_spares_outlives_its_death_but_not_its_stop(keeper):
    child = "import time  # spare me\ntime.sleep(600)"
    command = (sys.executable, "-c", LAUNCHER, child, "x")
    first = keeper.supervisor.start(ProcessSpec("worker", command, spares="spare me\n"))
    working = _until_child(first.pid)
    keeper.look(0.0)
    _kill(first.pid)
    keeper.look(1.0)
    assert working.is_running()
    keeper.supervisor.stop("worker")
    assert not runs(working)


def test_a_crash_loop_is_told_once_with_the_end_of_its_log_and_waits_longer_each_time(keeper):
    keeper.supervisor.start(ProcessSpec("broken", (sys.executable, "-c", "raise SystemExit('no such table')")))
    now, starts = 0.0, []
    while len(starts) < LOOP_DEATHS + 1:
        _until_dead(keeper.supervisor, "broken")
        before = len(_events(keeper, "broken"))
        keeper.look(now)
        if "restarted" in _events(keeper, "broken")[before:]:
            starts.append(now)
        now += 0.5
    waits = [later - earlier for earlier, later in zip(starts, starts[1:], strict=False)]
    assert waits == sorted(waits) and waits[-1] >= 4
    assert list(_looping(keeper)) == ["broken"]
    assert _events(keeper, "broken").count("crash loop") == 1
    assert "no such table" in _looping(keeper)["broken"].said
    keeper.supervisor.stop("broken")
    keeper.look(now)
    assert _looping(keeper) == {}


def test_a_loop_that_ended_is_told_too(keeper):
    now = _loops_until_now(keeper, "flaky")
    _until_dead(keeper.supervisor, "flaky")
    for _ in range(3):
        keeper.look(now)
        now += STEADY_S
    assert _events(keeper, "flaky")[-1] == "steady again"
    assert _looping(keeper) == {}


def test_a_crash_loop_is_known_to_the_next_keeper_and_ends_there(keeper):
    now = _loops_until_now(keeper, "flaky")
    following = ProcessKeeper(keeper.supervisor.settings)
    for _ in range(4):
        following.look(now)
        now += STEADY_S
    assert _looping(keeper) == {}
    assert _events(keeper, "flaky")[-1] == "steady again"


def test_what_one_process_has_wrong_with_it_does_not_cost_the_others_their_keeper(keeper):
    worker = keeper.supervisor.start(ProcessSpec("worker", SLEEPER))
    keeper.look(0.0)
    (keeper.supervisor.paths.pids / "wanted" / "aaa.json").write_text('{"name": "aaa", "of another version": 1}')
    _kill(worker.pid)
    keeper.look(1.0)
    assert keeper.supervisor.find("worker") not in (None, worker)


def test_the_events_do_not_grow_for_ever(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("infra.process_events.MOST_BYTES", 2_000)
    monkeypatch.setattr("infra.process_events.KEPT", 5)
    events = ProcessEvents(tmp_path)
    for place in range(200):
        events.add("worker", "died", f"pid {place}")
    assert (tmp_path / "events.jsonl").stat().st_size < 2_200
    assert events.newest(5)[-1].detail == "pid 199"


def test_a_port_that_another_program_took_is_named_and_tried_again(keeper):
    port = free_port("127.0.0.1", 18_400)
    spec = ProcessSpec("server", (sys.executable, "-c", SERVER, str(port)), ready_port=port, ready_timeout_s=20)
    first = keeper.supervisor.start(spec)
    keeper.supervisor.wait_ready(spec)
    keeper.look(0.0)
    keeper.look(0.5)
    _kill(first.pid)
    other = Supervisor(Settings(home=keeper.supervisor.paths.home / "other"))
    other.start(replace(spec, name="thief"))
    other.wait_ready(replace(spec, name="thief"))
    try:
        keeper.look(1.0)
        failed = [event for event in keeper.events.newest() if event.what == "did not start"]
        assert f"port {port} is taken by another program (pid " in failed[0].detail
    finally:
        other.stop_all()
    keeper.look(60.0)
    keeper.supervisor.wait_ready(spec)


def test_the_manager_itself_is_revived_by_whoever_watches_it(tmp_path):
    settings = Settings(home=tmp_path)
    supervisor, spec = Supervisor(settings), processes.keeper(settings)
    try:
        first = supervisor.start(spec)
        worker = supervisor.start(ProcessSpec("worker", SLEEPER))
        _kill(first.pid)
        second = supervisor.revive(spec.name)
        assert second is not None and second.pid != first.pid
        _until_told(tmp_path / "pids", second.pid)
        _kill(worker.pid)
        _until(lambda: supervisor.find("worker") not in (None, worker))
        supervisor.stop_all(processes.STOP_ORDER)
        assert supervisor.revive(spec.name) is None  # it was stopped on purpose
        assert supervisor.running() == []
    finally:
        supervisor.stop_all(processes.STOP_ORDER)


def test_a_keeper_that_is_stopped_leaves_what_it_had_started_again(tmp_path):
    settings = Settings(home=tmp_path)
    supervisor, spec = Supervisor(settings), processes.keeper(settings)
    try:
        supervisor.start(spec)
        worker = supervisor.start(ProcessSpec("worker", SLEEPER))
        _until_told(tmp_path / "pids", supervisor.find(spec.name).pid)
        _kill(worker.pid)
        _until(lambda: supervisor.find("worker") not in (None, worker))
        again = supervisor.find("worker")
        assert psutil.Process(again.pid).ppid() == supervisor.find(spec.name).pid
        supervisor.stop(spec.name)
        assert supervisor.find("worker") == again
        assert supervisor.stop_all(processes.STOP_ORDER) == ["worker"]
    finally:
        supervisor.stop_all(processes.STOP_ORDER)


HANDED = """
import http.server, os, socket
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["MIXER_LISTEN_FD"]))
class Pid(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
server.RequestHandlerClass = Pid
server.serve_forever()
"""


def test_whoever_connects_while_what_listens_is_started_again_waits_and_is_answered(keeper):
    port = free_port("127.0.0.1", 18_600)
    address = f"http://127.0.0.1:{port}/"
    spec = ProcessSpec("door", (sys.executable, "-c", HANDED), ready_url=address, listens=("127.0.0.1", port))
    first = keeper.supervisor.start(spec)
    keeper.supervisor.wait_ready(spec)
    keeper.look(0.0)
    os.kill(first.pid, signal.SIGKILL)
    _until(lambda: keeper.supervisor.find("door") is None)
    with ThreadPoolExecutor(4) as clients:
        waiting = [clients.submit(urllib.request.urlopen, address, timeout=20) for _ in range(4)]
        _until(lambda: _connected(port) == 4)  # and nobody is there
        assert not any(one.done() for one in waiting)
        keeper.look(1.0)
        answers = {one.result().read().decode() for one in waiting}
    assert answers == {str(keeper.supervisor.find("door").pid)}


def test_a_keeper_starts_what_listens_for_everybody_and_holds_its_socket(tmp_path):
    settings = Settings(home=tmp_path)
    supervisor, port = Supervisor(settings), free_port("127.0.0.1", 18_800)
    spec = ProcessSpec(
        "door", (sys.executable, "-c", HANDED), ready_url=f"http://127.0.0.1:{port}/", listens=("127.0.0.1", port)
    )
    try:
        keeper = supervisor.start(processes.keeper(settings))
        door = supervisor.start(spec)
        supervisor.wait_ready(spec)
        assert psutil.Process(door.pid).ppid() == keeper.pid
        assert [event.what for event in ProcessEvents(tmp_path / "pids").newest() if event.process == "door"] == ["started"]
        supervisor.stop("door")
        _until(lambda: _refused(port))  # the keeper lets go of the socket of what was stopped on purpose
    finally:
        supervisor.stop_all(processes.STOP_ORDER)


def test_a_keeper_is_handed_the_sockets_of_whoever_starts_it(tmp_path):
    """As the door does it, which revives a killed keeper: from then on the door's own death is survived again."""
    settings = Settings(home=tmp_path)
    supervisor, port = Supervisor(settings), free_port("127.0.0.1", 19_000)
    spec = ProcessSpec(
        "door", (sys.executable, "-c", HANDED), ready_url=f"http://127.0.0.1:{port}/", listens=("127.0.0.1", port)
    )
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", port))
        opened.listen()
        supervisor.sockets.adopt("door", opened.fileno())
    try:
        supervisor._wanted_file("door").parent.mkdir(parents=True)
        supervisor._wanted_file("door").write_text(spec.to_json())
        keeper = supervisor.start(processes.keeper(settings))
        supervisor.sockets.let_go("door")
        supervisor.wait_ready(spec)
        assert psutil.Process(supervisor.find("door").pid).ppid() == keeper.pid
        os.kill(supervisor.find("door").pid, signal.SIGKILL)
        assert not _refused(port)
    finally:
        supervisor.stop_all(processes.STOP_ORDER)


def test_with_other_settings_another_keeper_takes_over(tmp_path):
    supervisor = Supervisor(Settings(home=tmp_path))
    try:
        first = supervisor.start(processes.keeper(Settings(home=tmp_path)))
        assert supervisor.start(processes.keeper(Settings(home=tmp_path))) == first
        second = supervisor.start(processes.keeper(Settings(home=tmp_path, gateway_port=19_999)))
        assert second.pid != first.pid
    finally:
        supervisor.stop_all(processes.STOP_ORDER)


def _connected(port: int) -> int:
    """Clients of this process with a connection to the port."""
    connections = psutil.Process().net_connections("tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED and bool(one.raddr) and one.raddr.port == port for one in connections)


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_line_that_a_crash_cut_off_costs_that_line_alone(tmp_path: Path):
    events = ProcessEvents(tmp_path)
    events.add("worker", "died", "pid 1")
    (tmp_path / "events.jsonl").open("ab").write(b'\xff\xfe\nnull\n{"at": "2026')
    assert [event.what for event in events.newest()] == ["died"]
    events.shorten()
    events.add("worker", "restarted", "pid 2")
    assert [event.what for event in events.newest()] == ["died", "restarted"]


def _until(holds, seconds: float = 20.0) -> None:
    """A deadline only ends a test that would hang; it is no claim about speed."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "what the test waits for did not come"
        time.sleep(0.02)


def _until_dead(supervisor: Supervisor, name: str) -> None:
    go = supervisor.paths.home / "go"
    _until(lambda: supervisor.find(name) is None or go.exists())


def _until_child(pid: int) -> psutil.Process:
    _until(lambda: psutil.Process(pid).children())
    return psutil.Process(pid).children()[0]


def _until_told(pids: Path, pid: int) -> None:
    _until(lambda: any(event.detail == f"pid {pid}" for event in ProcessEvents(pids).newest()))
