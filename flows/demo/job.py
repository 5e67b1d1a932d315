"""`mixer demo`: the main job from ingestion to rollback, stage by stage, resumable, with a live display."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil

from flows.demo.display import Display
from flows.demo.new_run import reset_live_state
from flows.demo.run_folder import RunFolder
from flows.demo.stages import STAGES, Context, Stage
from flows.demo.summary import build_summary, print_summary
from flows.platform import Platform
from flows.progress import listening
from infra.interrupts import Interrupts
from infra.process_memory import give_back
from infra.settings import Settings

MEMORY_SAMPLE_S = 3.0


def run_demo(settings: Settings, *, fresh: bool = False, down: bool = False) -> int:
    """Run or carry on the main job; returns the process's exit code (130 after Ctrl-C)."""
    platform = Platform(settings)
    folder, new = RunFolder.open(settings.paths.runs, fresh=fresh)
    if new:
        platform.stop()
        reset_live_state(settings, folder)
    else:
        # A killed demo may have left a flow run at work: its stage starts another, and two must not move one release.
        platform.supervisor.stop("prefect-worker")
    title = f"Home Mixer, {'new' if new else 'resumed'} run {folder.name}; log: {folder.log}"
    display = Display([("platform", "platform"), *((stage.name, stage.title) for stage in STAGES)], title)
    memory = MemoryWatch(platform)
    interrupts = Interrupts()
    try:
        with interrupts, _libraries_to_log(folder.log), memory, display.live():
            _run_stages(Context(settings, platform, folder), display)
            summary = build_summary(settings, platform, folder, memory.peak_mb, display.elapsed())
            folder.write_summary(summary)
    except KeyboardInterrupt:
        interrupts.heard()
        platform.stop()
        display.console.print(f"stopped; all finished stages are kept: run it again to carry on ({folder.folder})")
        return 130
    except Exception as error:
        with folder.log.open("a") as log:
            traceback.print_exc(file=log)
        platform.stop()
        display.console.print(f"[bold red]failed:[/] {error}", highlight=False)
        display.console.print(
            f"the whole story is in {folder.log}; mend the cause and run it again to carry on", highlight=False
        )
        return 1
    print_summary(summary, display.console)
    if down:
        platform.stop()
    else:
        display.console.print("The platform stays up, so that you can look at the pages; `make down` stops it.")
    return 0


def _run_stages(context: Context, display: Display) -> None:
    display.start("platform")
    context.platform.start_foundations()
    names = context.platform.await_foundations(paused_schedules=True, tell=lambda text: display.tell("platform", text))
    display.finish("platform", "done", f"Prefect, broker, {len(names)} deployments")
    for stage in STAGES:
        kept = context.folder.output(stage.name)
        if kept is not None:
            display.finish(stage.name, "kept", f"kept: {stage.told(kept)}", context.folder.seconds()[stage.name])
            continue
        _run_stage(stage, context, display)


def _run_stage(stage: Stage, context: Context, display: Display) -> None:
    display.start(stage.name)
    started = time.monotonic()
    with listening(lambda text: display.tell(stage.name, text)):
        try:
            output = stage.run(context)
        except BaseException:
            display.finish(stage.name, "failed", "see the log")
            raise
    give_back()
    context.folder.finish(stage.name, output, time.monotonic() - started)
    display.finish(stage.name, "done", stage.told(output))


class MemoryWatch:
    """Peak of the proportional memory of this process and the whole platform, sampled while the block runs."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(MEMORY_SAMPLE_S):
            total = own.memory_full_info().pss / 1e6 + sum(self.platform.supervisor.memory_mb().values())
            self.peak_mb = max(self.peak_mb, total)


@contextlib.contextmanager
def _libraries_to_log(log: Path) -> Iterator[None]:
    """What libraries print or log goes to the run's log; the terminal belongs to the display."""
    root = logging.getLogger()
    with log.open("a", buffering=1) as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        root.addHandler(handler)
        _silence_consoles(handler)
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield
        finally:
            root.removeHandler(handler)


def _silence_consoles(handler: logging.Handler) -> None:
    """Prefect has console handlers of its own: point them at the log too."""
    from prefect.logging.configuration import setup_logging
    from prefect.logging.handlers import PrefectConsoleHandler

    setup_logging()  # once, now: a flow's own call of it then leaves the handlers as they are
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for logger in (logging.getLogger(), *known):
        for own in [own for own in logger.handlers if isinstance(own, PrefectConsoleHandler)]:
            logger.removeHandler(own)
            if not logger.propagate:
                logger.addHandler(handler)
