"""The supervisor starts, adopts and stops real processes."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import replace

import pytest

from infra import supervisor as module
from infra.process_spec import ProcessFailed, ProcessSpec
from infra.settings import Settings
from infra.supervisor import Supervisor, free_port

SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(Settings(home=tmp_path))
    yield supervisor
    supervisor.stop_all()


def _server(port: int) -> ProcessSpec:
    command = (sys.executable, "-c", SERVER, str(port))
    return ProcessSpec("server", command, ready_url=f"http://127.0.0.1:{port}/", ready_port=port, ready_timeout_s=20)


def test_a_started_process_is_ready_found_and_stopped(supervisor):
    spec = _server(free_port("127.0.0.1", 18_000))
    running = supervisor.start(spec)
    supervisor.wait_ready(spec)
    assert [process.pid for process in supervisor.running()] == [running.pid]
    assert supervisor.stop("server")
    assert supervisor.running() == []
    assert not running.alive()


def test_a_process_is_starting_until_it_passes_its_check_and_has_beaten(supervisor, tmp_path):
    spec = ProcessSpec(
        "worker", (sys.executable, "-c", "import time; time.sleep(60)"), ready_file=tmp_path / "at-work", beats=True
    )
    running = supervisor.start(spec)
    assert not supervisor.is_ready(spec, running)
    spec.ready_file.touch()
    assert not supervisor.is_ready(spec, running)
    supervisor.heartbeat("worker").touch()
    assert supervisor.is_ready(spec, running)


def test_a_running_process_is_adopted_by_another_supervisor(supervisor):
    spec = _server(free_port("127.0.0.1", 18_000))
    first = supervisor.start(spec)
    supervisor.wait_ready(spec)
    second = Supervisor(supervisor.settings).start(spec)
    assert second.pid == first.pid


def test_another_command_under_the_same_name_replaces_the_process(supervisor):
    first = supervisor.start(_server(free_port("127.0.0.1", 18_000)))
    second = supervisor.start(ProcessSpec("server", (sys.executable, "-c", "import time; time.sleep(60)")))
    assert second.pid != first.pid
    assert not first.alive()


def test_a_file_of_an_earlier_run_makes_no_process_ready(supervisor, tmp_path):
    file, go = tmp_path / "progress.json", tmp_path / "go"
    file.write_text("of yesterday")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
    writes = f"pathlib.Path({str(file)!r}).write_text('now')\ntime.sleep(60)"
    spec = ProcessSpec("worker", (sys.executable, "-c", waits + writes), ready_file=file, ready_timeout_s=0.5)
    supervisor.start(spec)
    with pytest.raises(ProcessFailed, match="worker was not ready within"):
        supervisor.wait_ready(spec)
    go.touch()
    supervisor.wait_ready(replace(spec, ready_timeout_s=20))
    assert file.read_text() == "now"


def test_a_process_that_ends_early_is_reported_with_the_end_of_its_log(supervisor):
    spec = ProcessSpec("broken", (sys.executable, "-c", "raise SystemExit('no such broker')"), ready_port=1, ready_timeout_s=20)
    with pytest.raises(ProcessFailed, match="no such broker"):
        supervisor.start(spec)
        supervisor.wait_ready(spec)


def test_a_taken_port_is_named_before_anything_starts(supervisor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProcessFailed, match=f"port {port} is taken"):
            supervisor.start(_server(port))
    assert supervisor.running() == []


def test_a_port_that_nobody_holds_any_more_is_waited_for(supervisor, monkeypatch):
    """A killed process of many threads is gone from the list before its sockets are."""
    dying = socket.socket()
    dying.bind(("127.0.0.1", 0))
    dying.listen()

    def holder(port: int) -> str:
        dying.close()
        return ""

    monkeypatch.setattr(module, "_holder", holder)
    spec = _server(dying.getsockname()[1])
    supervisor.start(spec)
    supervisor.wait_ready(spec)


def test_what_another_version_wrote_of_a_process_is_read_as_far_as_it_is_known(supervisor):
    spec = ProcessSpec("worker", (sys.executable, "-c", "import time; time.sleep(60)"))
    supervisor.start(spec)
    file = supervisor.paths.pids / "wanted" / "worker.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "of_tomorrow": 1}))
    assert supervisor.wanted("worker") == spec


def test_a_stale_pid_file_is_not_taken_for_a_process(supervisor):
    running = supervisor.start(ProcessSpec("short", (sys.executable, "-c", "pass")))
    file = supervisor.paths.pids / "short.json"
    file.write_text(file.read_text().replace(f'"ticks": {running.ticks}', '"ticks": 1'))
    assert supervisor.find("short") is None


def test_a_pid_file_of_nothing_is_no_process(supervisor):
    spec = ProcessSpec("short", (sys.executable, "-c", "import time; time.sleep(60)"))
    first = supervisor.start(spec)
    (supervisor.paths.pids / "short.json").write_text("")
    assert supervisor.find("short") is None
    second = supervisor.start(spec)
    assert second.pid != first.pid
    assert not first.alive()  # it is known by its mark


def test_the_same_command_with_another_port_replaces_the_process(supervisor):
    spec = ProcessSpec("short", (sys.executable, "-c", "import time; time.sleep(60)"), ready_url="http://127.0.0.1:1/")
    first = supervisor.start(spec)
    assert supervisor.start(spec).pid == first.pid
    assert supervisor.start(replace(spec, ready_url="http://127.0.0.1:2/")).pid != first.pid


def test_settings_reach_the_children(tmp_path):
    settings = Settings(home=tmp_path, gateway_port=18_999, replay_user_share=0.5)
    environment = settings.child_environment()
    assert environment["MIXER_HOME"] == str(tmp_path)
    assert environment["MIXER_GATEWAY_PORT"] == "18999"
    assert environment["MIXER_REPLAY_USER_SHARE"] == "0.5"
    assert "MIXER_PREFECT_PORT" not in environment


def test_a_process_that_gives_no_sign_of_life_is_not_ready(supervisor):
    spec = ProcessSpec("beating", (sys.executable, "-c", "import time; time.sleep(60)"), beats=True, silent_s=30.0)
    running = supervisor.start(spec)
    try:
        heartbeat = supervisor.heartbeat(spec.name)
        heartbeat.parent.mkdir(parents=True, exist_ok=True)
        heartbeat.touch()
        assert supervisor.is_ready(spec, running)
        os.utime(heartbeat, (time.time() - 40, time.time() - 40))
        assert not supervisor.is_ready(spec, replace(running, started_at=time.time() - 100))
    finally:
        supervisor.stop(spec.name)
