"""Steps that `test_apart.py` runs in processes of their own."""

from __future__ import annotations

import os
import sys
import threading

from flows.steps.progress import announce
from flows.steps.too_little import TooLittleData


def add(left: int, right: int) -> dict[str, int]:
    announce(f"adding {left} and {right}")
    print("printed by the step")
    return {"sum": left + right}


def imported(module: str) -> bool:
    return module in sys.modules


def fail() -> None:
    raise ValueError("no lake at /nowhere")


def lack() -> None:
    raise TooLittleData("there are no later days to replay")


def die() -> None:
    os._exit(7)


def wait() -> None:
    announce(str(os.getpid()))
    threading.Event().wait()


def answer_and_hang() -> str:
    """Answers, and cannot end: a thread that is no daemon goes on."""
    threading.Thread(target=threading.Event().wait).start()
    return "answered"
