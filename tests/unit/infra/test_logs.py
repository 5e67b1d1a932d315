"""Log lines on a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from infra.settings import Settings

SCRIPT = """
import structlog
from infra.logs import configure_logs
configure_logs()
log = structlog.get_logger("keeper")
log.info("started")
try:
    raise OSError(28, "No space left on device")
except OSError:
    log.exception("could not look")
import sys
print("went on", file=sys.stderr)
"""


def test_a_line_that_finds_no_room_does_not_end_the_process(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=Settings(home=tmp_path).process_environment({}),
        )
    assert "went on" in done.stderr
    assert "Traceback" not in done.stderr.split("went on")[0]
