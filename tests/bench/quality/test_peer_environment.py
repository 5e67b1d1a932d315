"""A peer's own environment is made once by the real installer, completed, made anew, and its failures are told apart."""

from __future__ import annotations

import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bench.quality.peer import NotRun
from tests.bench.quality.peer_environment import IndexOutOfReach, peer_environment
from tests.free_ports import free_port

TINY = ("tiny-peer==1.0",)


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of wheels, the only place that packages are taken from."""
    for version in ("1.0", "2.0"):
        stem = f"tiny_peer-{version}"
        (tmp_path / "wheels").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "wheels" / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("tiny_peer.py", f"print('tiny {version}')\n")
            wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: tiny-peer\nVersion: {version}\n")
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "an-index-of-nothing").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def said(python) -> str:
    """What the package says; without bytecode, which would outlive a wheel whose files have one age and size."""
    return subprocess.run(
        [python, "-I", "-B", "-c", "import tiny_peer"], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_an_environment_is_made_once_and_again_for_other_packages(wheels, tmp_path):
    folder = tmp_path / "made" / "tiny"
    assert said(peer_environment(folder, TINY, "tiny")) == "tiny 1.0"
    for wheel in wheels.glob("*-1.0-*"):
        wheel.unlink()
    assert said(peer_environment(folder, TINY, "tiny")) == "tiny 1.0"  # nothing was installed: it could not be
    assert said(peer_environment(folder, ("tiny-peer==2.0",), "tiny")) == "tiny 2.0"


def test_what_a_broken_run_has_left_is_completed(wheels, tmp_path):
    python = peer_environment(tmp_path / "tiny", TINY, "tiny")
    (tmp_path / "tiny" / ".installed").unlink()
    assert said(peer_environment(tmp_path / "tiny", TINY, "tiny")) == "tiny 1.0"
    python.unlink()
    python.symlink_to(tmp_path / "an-interpreter-that-is-gone")
    assert said(peer_environment(tmp_path / "tiny", TINY, "tiny")) == "tiny 1.0"


def test_two_that_ask_at_once_get_one_whole_environment(wheels, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: said(peer_environment(tmp_path / "tiny", TINY, "tiny")), range(2)))
    assert found == ["tiny 1.0", "tiny 1.0"]


def test_an_index_that_does_not_answer_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(IndexOutOfReach, match="tiny: the package index is out of reach, and .* is not made yet .*refused"):
        peer_environment(tmp_path / "tiny", TINY, "tiny")
    assert not (tmp_path / "tiny" / ".installed").exists()


def test_a_package_that_is_nowhere_is_no_matter_of_reach_and_says_why(wheels, tmp_path):
    with pytest.raises(NotRun, match="tiny: its environment .* cannot be installed: error: No solution found") as raised:
        peer_environment(tmp_path / "tiny", ("no-such-package-of-ours==0",), "tiny")
    assert not isinstance(raised.value, IndexOutOfReach) and "no-such-package-of-ours" in str(raised.value)
