"""`python -m tests.bench.broken_release RELEASE FAULT PORT`: a release's process that is broken in one way, for benches."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import uvicorn

from tests.integration.small_arm import SmallArm

FAULTS = ("erring", "empty", "not_a_number", "slow", "crash_loop")
SLOW_S = 3.0


def arm_of(release: str, fault: str) -> SmallArm:
    """The arm; `slow` and `crash_loop` are made by `main`."""
    return SmallArm(release, status=500 if fault == "erring" else 200, empty=fault == "empty", numbers=fault != "not_a_number")


def main(release: str, fault: str, port: int) -> None:
    """Serve until killed; a crash loop ends by itself after half a second."""
    app = arm_of(release, fault).app()
    if fault == "crash_loop":
        threading.Timer(0.5, lambda: os._exit(1)).start()
    if fault == "slow":
        inner = app

        async def app(scope, receive, send):
            if scope["type"] == "http" and scope["path"] != "/ready":
                await asyncio.sleep(SLOW_S)
            await inner(scope, receive, send)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
