"""`python -m tests.bench NAME --json`: the benches of `mixer bench` by another door."""

from __future__ import annotations

from flows.bench_cli import bench

if __name__ == "__main__":
    bench(prog_name="python -m tests.bench")
