"""The Evidently report says what the decision says, and a real `evidently ui` opens the workspace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.settings import LIBRARIES
from monitoring.drift.decision import decide
from monitoring.drift.planted import plant_shift
from monitoring.drift.report import PROJECT, most_moved, write_report
from tests.drift_frames import drift_rows
from tests.free_ports import free_port

pytestmark = pytest.mark.slow
NOON = datetime(2024, 5, 2, 12, tzinfo=UTC)
COLUMNS = ["prediction_click", "user.normal_0", "post.pareto_count_0", "author.log_normal_0"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Two windows reported into one folder: a clean one, then one with a planted fault (written twice, as after a resume)."""
    folder = tmp_path_factory.mktemp("drift")
    reference, rows = drift_rows(1, 2000), drift_rows(2, 2000)
    fault = plant_shift(rows, "author.log_normal_0", reference=reference)
    clean = decide(reference, rows, at=NOON, label="2 May")
    planted = decide(reference, fault.rows, at=NOON + timedelta(days=1), label="3 May", planted=fault.description)
    pages = [
        write_report(reference, rows, clean, folder, columns=COLUMNS),
        write_report(reference, fault.rows, planted, folder, columns=COLUMNS),
        write_report(reference, fault.rows, planted, folder, columns=COLUMNS),
    ]
    return folder, pages, planted


def test_the_page_is_self_contained_and_named_for_its_window(reported):
    _, pages, _ = reported
    assert [page.name for page in pages[:2]] == ["drift-20240502T120000.html", "drift-20240503T120000-planted.html"]
    html = pages[0].read_text()
    assert re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']https?://|<link[^>]+href=[\"']https?://", html) == []
    assert "PSI (quantile bins)" in html


def test_evidently_flags_the_planted_column_and_no_other(reported):
    folder, _, _ = reported
    (run,) = [run for run in _runs(folder) if run["name"].endswith("planted")]
    psi = {
        metric["metric_value_location"]["metric"]["params"]["column"]: metric["value"]
        for metric in run["metric_results"].values()
        if "ValueDrift" in metric["metric_value_location"]["metric"]["params"].get("type", "")
    }
    assert psi["author.log_normal_0"] > 3
    assert max(value for column, value in psi.items() if column != "author.log_normal_0") < 0.2


def test_a_run_written_again_replaces_the_first(reported):
    folder, _, _ = reported
    assert sorted(run["name"] for run in _runs(folder)) == ["drift-20240502T120000", "drift-20240503T120000-planted"]


def test_the_report_shows_scores_and_what_moved_most(reported):
    _, _, planted = reported
    assert most_moved(drift_rows(1, 100), planted, count=2) == ["prediction_click", "author.log_normal_0"]


def test_a_real_evidently_server_lists_the_project_and_both_runs(reported):
    folder, _, _ = reported
    port = free_port()
    command = [str(Path(sys.executable).with_name("evidently")), "ui", "--workspace", str(folder / "workspace")]
    with (folder / "ui.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**LIBRARIES, "HOME": str(folder)},
            stdout=log,
            stderr=log,
        )
    try:
        (project,) = _answer(server, f"http://127.0.0.1:{port}/api/projects")
        assert project["name"] == PROJECT
        runs = _answer(server, f"http://127.0.0.1:{port}/api/projects/{project['id']}/reports")
        assert {tuple(run["tags"]) for run in runs} == {("ok",), ("retrain", "planted fault")}
        data = _answer(server, f"http://127.0.0.1:{port}/api/projects/{project['id']}/{runs[0]['id']}/data")
        assert len(data["widgets"]) > 0
    finally:
        server.terminate()
        server.wait(timeout=30)


def _runs(folder: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in folder.glob("workspace/*/snapshots/*.json")]


def _answer(server: subprocess.Popen, url: str, patience_s: float = 120):
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)
        except urllib.error.URLError:
            assert server.poll() is None, f"evidently ui ended with status {server.returncode}"
            assert time.monotonic() < deadline, f"{url} did not answer within {patience_s} s"
            time.sleep(0.3)
