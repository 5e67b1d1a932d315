"""Progress reaches whoever listens and the flow run's log, both."""

from __future__ import annotations

import logging

import prefect.context
import prefect.logging

from flows.steps.progress import announce, listening


def test_outside_a_run_only_listeners_hear():
    heard: list[str] = []
    with listening(heard.append):
        announce("fitting")
    announce("nobody listens")
    assert heard == ["fitting"]


def test_a_listener_does_not_keep_progress_from_the_runs_log(monkeypatch):
    heard, logged = [], []
    monkeypatch.setattr(prefect.context, "get_run_context", lambda: object())
    logger = logging.Logger("run")
    logger.info = logged.append
    monkeypatch.setattr(prefect.logging, "get_run_logger", lambda: logger)
    with listening(heard.append):
        announce("fitting")
    assert heard == logged == ["fitting"]
