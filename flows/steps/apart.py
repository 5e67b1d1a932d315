"""A flow in a process of its own: what it held goes back to the machine when it ends, and the demo itself stays small.

The child takes its parameters as a JSON line on its standard input, and tells its progress and its result as JSON lines on its
standard output; all else it prints goes to the run's log. It ends with its parent, however that ends: its standard input is
closed then.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from flows.steps.progress import announce, listening
from flows.steps.too_little import TooLittleData

logger = logging.getLogger(__name__)

END_GRACE_S = 20.0  # Prefect tells its server how the run ended; then the child is killed


class FlowFailed(RuntimeError):
    """The flow ended with an error, which stands in the run's log with its traceback."""


def run_flow(target: str, log: Path, /, **parameters: Any) -> Any:
    """Run `module:flow` with JSON parameters apart; returns its result as JSON gives it back.

    A process that was prepared for it is taken. Its `announce` reaches this process's listeners. An interrupt here interrupts
    the child, and waits for its end. Raises FlowFailed, and TooLittleData where the flow did.
    """
    child = _prepared.pop(target, None) or _started(target, log)
    try:
        child.stdin.write(json.dumps(parameters) + "\n")
        child.stdin.flush()
        answer = _listen(child.stdout)
    except BrokenPipeError:  # it ended before it was asked
        answer = {}
    except BaseException:
        child.send_signal(signal.SIGINT)
        _ended(child)
        raise
    if not answer:
        code = _ended(child)
        raise FlowFailed(f"the process of {target} ended with code {code} and said no reason; see {log}")
    _let_end(child)
    if "result" in answer:
        return answer["result"]
    if "too_little" in answer:
        raise TooLittleData(answer["too_little"])
    raise FlowFailed(answer["failed"])


def prepare(target: str, log: Path, imports: Sequence[str] = ()) -> None:
    """Start the process that the next `run_flow` of `target` will use: it imports what it needs, and waits.

    Some libraries take ten seconds to import; they pass while another flow is at work.
    """
    if target not in _prepared:
        _prepared[target] = _started(target, log, imports)


def discard_prepared(target: str | None = None) -> None:
    """End the processes that were prepared and are not wanted: that of `target`, or all."""
    for name in [name for name in _prepared if target in (None, name)]:
        child = _prepared.pop(name)
        child.kill()
        _ended(child)


def end_all() -> None:
    """End what was prepared, and wait until every process that has answered has ended: its last words are in the log then."""
    discard_prepared()
    while _ending:
        _ending.pop().join()


_prepared: dict[str, subprocess.Popen] = {}
_ending: list[threading.Thread] = []


def _started(target: str, log: Path, imports: Sequence[str] = ()) -> subprocess.Popen:
    command = (sys.executable, "-m", __name__, target, str(log), *imports)
    with log.open("ab") as stream:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, start_new_session=True
        )


def _listen(lines: TextIO) -> dict[str, Any]:
    """Relay progress until the child has answered; {} where it closed its output without an answer."""
    for line in lines:
        message = json.loads(line)
        if "told" not in message:
            return message
        announce(message["told"])
    return {}


def _ended(child: subprocess.Popen) -> int:
    """The exit code, once it has ended. Prefect sends its last logs and events at exit, without end where its server is gone:
    then killed."""
    try:
        return child.wait(END_GRACE_S)
    except subprocess.TimeoutExpired:
        logger.warning("process %d was done and did not end within %.0f s: killed", child.pid, END_GRACE_S)
        child.kill()
        return child.wait()
    finally:
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()


def _let_end(child: subprocess.Popen) -> None:
    """Let it send what Prefect sends at exit, which takes seconds in which the next flow can be at work."""
    thread = threading.Thread(target=_ended, args=(child,), name=f"end-of-{child.pid}", daemon=True)
    thread.start()
    _ending.append(thread)


def main(target: str, log: str, *imports: str) -> int:
    """The child: import, wait for the parameters, run the flow and say what became of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have ignored it
    words = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what native code prints belongs to the log as well

    def say(**message: Any) -> None:
        words.write(json.dumps(message, default=str) + "\n")

    module, name = target.split(":")
    try:
        # First, and outside the log's redirection: some libraries keep the stream that they find when they are imported.
        from flows.demo.logs import libraries_to_log

        with libraries_to_log(Path(log)), listening(lambda text: say(told=text)):
            flow = getattr(importlib.import_module(module), name)
            for one in imports:
                importlib.import_module(one)
            parameters = _parameters()
            threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
            result = flow(**parameters)
    except TooLittleData as error:
        say(too_little=str(error))
        traceback.print_exc()
        return 1
    except Exception as error:
        say(failed=f"{type(error).__name__}: {error}")  # before the traceback: the log's disk may be full
        traceback.print_exc()
        return 1
    say(result=result)
    return 0


def _parameters() -> dict[str, Any]:
    """The one line of standard input, once it comes; ends the process where the parent has gone without one."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)  # not through a buffer: what comes after the line is for `_end_with_parent`
        if not piece:
            os._exit(1)
        line += piece
    return json.loads(line)


def _end_with_parent() -> None:
    """Block until standard input is closed: the parent has our result, or has died."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
