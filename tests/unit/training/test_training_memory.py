"""The memory of building, normalising and reading training rows does not grow with their number."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from infra.settings import get_settings

FEW, MANY = 25_000, 100_000
PIECE = 5_000
GROWTH_MB = 25  # what 75,000 more rows may add, which in memory are 125 MB and 75 more when encoded: the allocator's noise

SCRIPT = """
import json, re, sys
from pathlib import Path
import torch
from feature_repo.row_shards import open_rows, write_rows
from services.ranking.encoded_rows import EncodedRows
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import synthetic_rows

torch.set_num_threads(1)
count, piece, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

def memory_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def watched(things):
    for thing in things:
        seen.append(memory_mb())
        yield thing

# One piece and one batch first: what the libraries keep for themselves is no row.
first = synthetic_rows(piece, seed=0)
EncodedRows(first, Normaliser.fit(first.blocks)).rows(torch.arange(128))
del first
seen, base = [], memory_mb()
write_rows(folder / "rows", watched(synthetic_rows(piece, seed=start) for start in range(0, count, piece)))
rows = open_rows(folder / "rows")
seen.append(memory_mb())
encoded = EncodedRows(rows, Normaliser.fit(rows.blocks))
order = torch.randperm(len(encoded), generator=torch.Generator().manual_seed(1)).split(128)
read = sum(len(encoded.rows(batch)) for batch in watched(order))
seen.append(memory_mb())
print(json.dumps({"rows": len(rows), "read": read, "grown_mb": max(seen) - base}))
"""


def grown(count: int, folder) -> float:
    """MB of private memory that building and reading `count` rows took at most, in a process of its own."""
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(count), str(PIECE), str(folder)]
    environment = get_settings().process_environment({"OMP_NUM_THREADS": "1"})
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found["rows"] == found["read"] == count
    return found["grown_mb"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="private memory is read from /proc")
def test_four_times_the_rows_take_no_more_memory(tmp_path):
    few, many = grown(FEW, tmp_path / "few"), grown(MANY, tmp_path / "many")
    assert many - few < GROWTH_MB, f"{FEW:,} rows: {few:.0f} MB, {MANY:,}: {many:.0f} MB"
