"""`python -m tests.bench NAME --json`: one bench; without a name, those there are."""

from __future__ import annotations

from tests.bench.commands import bench

if __name__ == "__main__":
    bench(prog_name="python -m tests.bench")
