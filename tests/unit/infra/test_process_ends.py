"""The process keeper notes how a process ended, and tells a death from a start that failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from infra.process_keeper import ProcessKeeper
from infra.process_spec import ProcessSpec
from infra.restarts import LOOP_DEATHS
from infra.settings import Settings

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def keeper(tmp_path):
    keeper = ProcessKeeper(Settings(home=tmp_path))
    yield keeper
    keeper.supervisor.stop_all()


@pytest.mark.parametrize(("code", "said"), [(3, "exit code 3"), (-signal.SIGKILL, "killed by SIGKILL")])
def test_a_death_is_noted_with_how_the_process_ended(keeper, code, said):
    gone = keeper.supervisor.start(ProcessSpec("worker", SLEEPER))
    keeper.look(0.0)
    os.kill(gone.pid, signal.SIGKILL)
    _until_gone(keeper, "worker")
    keeper.exits = {gone.pid: code}
    keeper.look(1.0)
    assert keeper.events.last_death().detail == f"pid {gone.pid}, {said}; started again at once"


def test_how_a_process_ended_is_still_known_when_another_was_started_since(keeper):
    gone = keeper.supervisor.start(ProcessSpec("worker", SLEEPER))
    keeper.look(0.0)
    os.kill(gone.pid, signal.SIGKILL)
    _until_gone(keeper, "worker")
    keeper.supervisor.start(ProcessSpec("another", SLEEPER))
    keeper.look(1.0)
    assert keeper.events.last_death().detail == f"pid {gone.pid}, killed by SIGKILL; started again at once"


def test_a_process_that_does_not_start_is_no_death_and_loops_all_the_same(keeper):
    with suppress(FileNotFoundError):
        keeper.supervisor.start(ProcessSpec("worker", ("/no/such/program",)))
    for place in range(LOOP_DEATHS):
        keeper.look(60.0 * place)
    assert [event.what for event in keeper.events.newest()] == [*["did not start"] * LOOP_DEATHS, "crash loop"]
    assert "/no/such/program" in keeper.events.newest()[0].detail
    assert keeper.events.last_death() is None


ENDS = [("exit 3", 3), ("kill -9 $$", -9), ("true", 0)]
REAPING = f"""
import subprocess, time
from infra.process_keeper import reap
children = [subprocess.Popen(["/bin/sh", "-c", end]) for end in {[end for end, _ in ENDS]!r}]
ends = dict(zip([child.pid for child in children], {[code for _, code in ENDS]!r}, strict=True))
seen, until = {{}}, time.monotonic() + 20.0
while len(seen) < len(ends) and time.monotonic() < until:
    seen |= reap()
    time.sleep(0.01)
raise SystemExit(None if (seen, reap()) == (ends, {{}}) else f"{{seen}} is not {{ends}}")
"""


def test_the_codes_of_children_that_ended_are_read_as_the_system_has_them():
    """In a process of its own: it waits for every child that there is, and the tests have others."""
    done = subprocess.run([sys.executable, "-c", REAPING], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def _until_gone(keeper: ProcessKeeper, name: str) -> None:
    """A deadline only ends a test that would hang."""
    end = time.monotonic() + 20.0
    while keeper.supervisor.find(name) is not None:
        assert time.monotonic() < end, f"{name} does not die"
        time.sleep(0.02)
