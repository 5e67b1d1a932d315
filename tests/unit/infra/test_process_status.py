"""What is said of a process: starting is told apart from well, and dead from a crash loop."""

from __future__ import annotations

import pytest

from infra.process_spec import ProcessSpec, Running
from infra.process_status import ProcessStatus, standing

SPEC = ProcessSpec("mixer-r1", ("mixer",), ready_timeout_s=120.0)
RUNNING = Running("mixer-r1", 7, started_at=1_000.0, ticks=1, command=SPEC.command)
LOOPING = ProcessStatus(looping_since="2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("running", "ready", "now", "status", "said"),
    [
        (RUNNING, True, 1_002.0, ProcessStatus(), ""),
        (RUNNING, False, 1_012.0, ProcessStatus(), "starting for 12 s"),
        (RUNNING, False, 1_200.0, ProcessStatus(), "runs and is not ready: see its log"),
        (RUNNING, True, 1_002.0, LOOPING, "dies again and again: see its log"),
        (None, False, 1_002.0, ProcessStatus(), "dead; it is started again"),
    ],
)
def test_a_process_in_words(running, ready, now, status, said):
    assert standing(SPEC, running, ready=ready, status=status, kept=True, now=now) == said


def test_what_is_dead_without_a_keeper_says_what_starts_it():
    said = standing(SPEC, None, ready=False, status=ProcessStatus(), kept=False, now=0.0)
    assert "`mixer up`" in said
