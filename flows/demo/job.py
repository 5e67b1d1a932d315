"""`mixer demo`: the main job from ingestion to rollback, stage by stage, resumable, with a live display."""

from __future__ import annotations

import os
import threading
import time
import traceback

from flows.demo.display import Display
from flows.demo.logs import libraries_to_log
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
        with interrupts, libraries_to_log(folder.log), memory, display.live():
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
        while not self._stop.wait(MEMORY_SAMPLE_S):
            self.peak_mb = max(self.peak_mb, self.platform.supervisor.total_mb(also=os.getpid()))
