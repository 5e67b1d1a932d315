"""What processes of the platform inherit."""

from __future__ import annotations

import subprocess
import sys

from infra import processes
from infra.settings import Settings, get_settings, without_password


def test_a_child_does_not_keep_its_metrics_where_its_parent_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone with the parent"))
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    environment = Settings(home=tmp_path).process_environment({"MORE": "2"})
    assert "PROMETHEUS_MULTIPROC_DIR" not in environment
    assert (environment["SOMETHING_ELSE"], environment["MORE"]) == ("1", "2")


def test_the_password_of_an_address_is_never_shown():
    assert without_password("postgresql://mixer:secret@db:5432/mixer") == "postgresql://mixer:***@db:5432/mixer"
    assert without_password("postgresql+psycopg://mixer:s3/cr@t@db/mixer") == "postgresql+psycopg://mixer:***@db/mixer"
    for harmless in ("sqlite:////var/lib/platform.db", "127.0.0.1:9092", "http://host:8000/path", "2:1"):
        assert without_password(harmless) == harmless


def test_the_settings_command_shows_no_password(monkeypatch):
    from typer.testing import CliRunner

    from flows.cli.app import app

    monkeypatch.setenv("MIXER_DATABASE_URL", "postgresql://mixer:hunter2@db/mixer")
    get_settings.cache_clear()
    try:
        shown = CliRunner().invoke(app, ["settings"], env={"COLUMNS": "400"}).output
    finally:
        get_settings.cache_clear()
    assert "MIXER_DATABASE_URL" in shown
    assert "hunter2" not in shown


def test_a_mixer_computes_a_product_in_one_thread(tmp_path, monkeypatch):
    """Where all cores are busy, a second one spins until it gets its turn, and the request waits for it."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    spec = processes.mixer(Settings(home=tmp_path), "r1", ("serve",), 8700, tmp_path / "manifest.json")
    asked = "import numpy, threadpoolctl; print({pool['num_threads'] for pool in threadpoolctl.threadpool_info()})"
    environment = Settings(home=tmp_path).process_environment(spec.environment)
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"
