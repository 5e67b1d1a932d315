"""A flow apart: its result, progress and errors arrive, and it never outlives the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.steps import apart
from flows.steps.apart import FlowFailed, discard_prepared, end_all, prepare, run_flow
from flows.steps.progress import listening
from flows.steps.too_little import TooLittleData
from tests.interruptible import hear_interrupts

HERE = "tests.unit.flows.steps_apart"

pytestmark = pytest.mark.slow  # each test starts a flow's real process, which imports Prefect


def test_result_and_progress_arrive_and_what_is_printed_goes_to_the_log(tmp_path):
    heard: list[str] = []
    with listening(heard.append):
        assert run_flow(f"{HERE}:add", tmp_path / "log", left=2, right=3) == {"sum": 5}
    end_all()
    assert heard == ["adding 2 and 3"]
    assert "printed by the step" in (tmp_path / "log").read_text()


def test_an_error_arrives_with_its_reason_and_its_traceback_is_in_the_log(tmp_path):
    with pytest.raises(FlowFailed, match="ValueError: no lake at /nowhere"):
        run_flow(f"{HERE}:fail", tmp_path / "log")
    end_all()
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_prepared_process_has_its_imports_and_takes_its_parameters_when_they_come(tmp_path):
    target = f"{HERE}:imported"
    prepare(target, tmp_path / "log", ["tests.unit.flows.imported_ahead"])
    assert run_flow(target, tmp_path / "log", module="tests.unit.flows.imported_ahead") is True
    assert run_flow(target, tmp_path / "log", module="tests.unit.flows.imported_ahead") is False


def test_a_prepared_process_that_nobody_uses_is_ended(tmp_path):
    prepare(f"{HERE}:add", tmp_path / "log")
    (child,) = [psutil.Process(one.pid) for one in apart._prepared.values()]
    discard_prepared()
    assert not child.is_running()
    assert apart._prepared == {}


def test_a_prepared_process_that_died_is_named(tmp_path):
    target = f"{HERE}:add"
    prepare(target, tmp_path / "log")
    apart._prepared[target].kill()
    with pytest.raises(FlowFailed, match=f"{HERE}:add ended with code -9"):
        run_flow(target, tmp_path / "log", left=2, right=3)


def test_too_little_data_arrives_as_what_it_is(tmp_path):
    with pytest.raises(TooLittleData, match="^there are no later days to replay$"):
        run_flow(f"{HERE}:lack", tmp_path / "log")


def test_a_full_disk_under_the_log_is_named():
    with pytest.raises(FlowFailed, match="No space left on device"):
        run_flow(f"{HERE}:add", Path("/dev/full"), left=2, right=3)


def test_a_process_that_dies_without_a_word_is_named(tmp_path):
    with pytest.raises(FlowFailed, match=f"{HERE}:die ended with code 7"):
        run_flow(f"{HERE}:die", tmp_path / "log")


def test_a_process_that_answered_holds_nobody_up_and_is_killed_where_it_cannot_end(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "END_GRACE_S", 0.0)
    assert run_flow(f"{HERE}:answer_and_hang", tmp_path / "log") == "answered"
    end_all()
    assert f"{HERE}:answer_and_hang" not in " ".join(" ".join(one.cmdline()) for one in psutil.Process().children())


PARENT = """
import sys
from pathlib import Path
from flows.steps.apart import run_flow
from flows.steps.progress import listening

with listening(lambda text: print(text, flush=True)):
    run_flow(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_with_an_interrupted_or_killed_parent(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, f"{HERE}:wait", str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=hear_interrupts,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(number)
        parent.wait(timeout=60)
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {child.pid} outlived its parent"
        time.sleep(0.05)
