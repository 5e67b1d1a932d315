"""What processes of the platform inherit."""

from __future__ import annotations

from infra.settings import Settings


def test_a_child_does_not_keep_its_metrics_where_its_parent_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone with the parent"))
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    environment = Settings(home=tmp_path).process_environment({"MORE": "2"})
    assert "PROMETHEUS_MULTIPROC_DIR" not in environment
    assert (environment["SOMETHING_ELSE"], environment["MORE"]) == ("1", "2")
