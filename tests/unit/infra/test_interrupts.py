"""An interrupt reaches the program even where a library swallows it; tried in real processes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.interruptible import hear_interrupts, ignore_interrupts

SWALLOWING = """
import sys, time
from infra.interrupts import Interrupts, leave

interrupts = Interrupts(repeat_s=0.05)
try:
    with interrupts:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass  # as in a C library's callback
        time.sleep(60)
except KeyboardInterrupt:
    interrupts.heard()
    time.sleep(0.3)  # several repeats long: none may come any more
    print("heard", end="")
    leave(130)
"""
HANGING = """
import threading
from infra.interrupts import leave

threading.Thread(target=threading.Event().wait).start()
print("said", end="")
leave(3)
"""


def _run(program: str, ignored: bool = False) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=ignore_interrupts if ignored else hear_interrupts,
    )


def test_a_swallowed_interrupt_is_raised_again_until_it_is_heard():
    with _run(SWALLOWING) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "heard"
        assert process.returncode == 130


def test_where_interrupts_are_ignored_they_stay_ignored():
    with _run(SWALLOWING, ignored=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.kill()


def test_leaving_waits_for_no_thread_and_loses_no_output():
    with _run(HANGING) as process:
        assert process.communicate(timeout=30)[0] == "said"
        assert process.returncode == 3
