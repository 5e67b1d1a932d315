"""A whole platform on the simulated world for the release bench, started by the command that people use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.steps.progress import announce
from infra.settings import Settings
from infra.supervisor import Supervisor
from tests.free_ports import free_range

PORTS = 14  # four servers, the two that Prefect's workers answer on, and mixers
START_LIMIT_S = 1_200


class BenchPlatform:
    """The platform's settings, and its commands as processes."""

    def __init__(self, home: Path, users: int, posts: int, seed: int) -> None:
        first = free_range(PORTS)
        places = {"prefect_port": 0, "gateway_port": 3, "mlflow_port": 4, "evidently_port": 5, "broker_port": 6}
        ports = {name: first + place for name, place in places.items()} | {"mixer_base_port": first + 7}
        world = {"dataset": "world", "world_users": users, "world_posts": posts, "seed": seed}
        self.settings = Settings(home=home, **ports, **world)
        self.environment = {**os.environ, **self.settings.child_environment()}

    def mixer(self, *arguments: str) -> str:
        """Run `mixer ...` to its end; returns what it printed. Raises RuntimeError with the end of it where it failed."""
        done = subprocess.run(
            self._command(*arguments), env=self.environment, capture_output=True, text=True, check=False, timeout=START_LIMIT_S
        )
        if done.returncode:
            raise RuntimeError(
                f"mixer {' '.join(arguments)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}"
            )
        return done.stdout

    @contextmanager
    def beside(self, *arguments: str) -> Iterator[subprocess.Popen]:
        """`mixer ...` while the block runs, then asked to end."""
        process = subprocess.Popen(
            self._command(*arguments), env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", "from flows.cli.app import main; main()", *arguments]


@contextmanager
def running_platform(folder: Path, users: int, posts: int, seed: int) -> Iterator[BenchPlatform]:
    """From nothing to a live release 1; everything is stopped in the end."""
    platform = BenchPlatform(folder / "home", users, posts, seed)
    try:
        announce("mixer start: from a world to a live release")
        platform.mixer("start")
        yield platform
    finally:
        announce("stopping the platform")
        Supervisor(platform.settings).stop_all(["keeper", "gateway"])


def percentiles(seconds: list[float]) -> dict[str, Any]:
    """Median and worst of some times."""
    ordered = sorted(seconds)
    return {"median_s": round(ordered[len(ordered) // 2], 2), "worst_s": round(ordered[-1], 2)} if ordered else {}
