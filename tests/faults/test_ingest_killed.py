"""An ingestion that is killed outright (SIGKILL) is carried on by the next run to the same lake as an undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.world import WorldConfig
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.lake import Lake

CONFIG = WorldConfig(users=60, posts=80, days=5)

# Ingests into the folder given, and kills its own process right after the part file named by the second argument.
VICTIM = """
import os, signal, sys
from pathlib import Path
from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.world import WorldConfig
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.lake import Lake

root, last_part = Path(sys.argv[1]), sys.argv[2]
replace = Path.replace

def replace_then_die(self, target):
    replace(self, target)
    if str(target).endswith(last_part):
        os.kill(os.getpid(), signal.SIGKILL)

Path.replace = replace_then_die
ingest(WorldAdapter(config=WorldConfig(users=60, posts=80, days=5)), Lake(root / "lake"), Lake(root / "holdout"))
"""


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


@pytest.mark.parametrize(
    "last_part",
    ["lake/events/day=2025-03-03/world.parquet", "holdout/events/day=2025-03-05/world.parquet", "lake/users/world.parquet"],
)
def test_a_killed_ingestion_is_carried_on(tmp_path: Path, last_part: str) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    victim = subprocess.run([sys.executable, "-c", VICTIM, str(killed), last_part], capture_output=True, timeout=120)
    assert victim.returncode == -signal.SIGKILL, victim.stderr.decode()
    assert (killed / last_part).is_file()
    assert not (killed / "lake" / "markers" / "ingest.json").exists()
    reports = [ingest(WorldAdapter(config=CONFIG), Lake(root / "lake"), Lake(root / "holdout")) for root in (killed, whole)]
    assert not reports[0].skipped
    assert reports[0] == reports[1]
    assert contents(killed) == contents(whole)
