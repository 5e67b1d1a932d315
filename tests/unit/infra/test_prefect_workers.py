"""Two workers share the work pool: one for what takes long, and one for what must never wait behind it."""

from __future__ import annotations

from infra.processes import LONG_QUEUE, STOP_ORDER, URGENT_QUEUE, prefect_urgent_worker, prefect_worker
from infra.settings import Settings


def _option(command: tuple[str, ...], name: str) -> str:
    return command[command.index(name) + 1]


def test_each_worker_serves_one_queue(tmp_path):
    settings = Settings(home=tmp_path)
    assert _option(prefect_worker(settings).command, "--work-queue") == LONG_QUEUE
    assert _option(prefect_urgent_worker(settings).command, "--work-queue") == URGENT_QUEUE


def test_the_workers_differ_in_name_and_in_the_port_of_their_health_check(tmp_path):
    settings = Settings(home=tmp_path, prefect_port=29_100)
    long, urgent = prefect_worker(settings), prefect_urgent_worker(settings)
    assert (long.name, urgent.name) == ("prefect-worker", "prefect-urgent-worker")
    assert _option(long.command, "--name") != _option(urgent.command, "--name")
    assert (long.ready_url, urgent.ready_url) == ("http://127.0.0.1:29101/health", "http://127.0.0.1:29102/health")
    assert urgent.environment["PREFECT_WORKER_WEBSERVER_PORT"] == "29102"


def test_what_the_workers_run_outlives_them_and_both_stop_before_what_it_talks_to(tmp_path):
    settings = Settings(home=tmp_path)
    for spec in (prefect_worker(settings), prefect_urgent_worker(settings)):
        assert spec.spares == "prefect.engine"
        assert spec.name in STOP_ORDER
