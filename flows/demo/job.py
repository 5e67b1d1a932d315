"""`mixer demo`: the main job from ingestion to rollback, stage by stage, resumable, with a live display."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Collection

from flows.demo.display import Display
from flows.demo.logs import libraries_to_log
from flows.demo.new_run import open_run, reset_live_state
from flows.demo.plan import PLANS, TOUR
from flows.demo.plan_words import announced
from flows.demo.run_folder import Outcome, RunFolder
from flows.demo.stages import LAST, STAGES, Context, Stage, beyond, unmet_need
from flows.demo.summary import build_summary, print_summary
from flows.steps.apart import discard_prepared, end_all, prepare
from flows.steps.platform import Platform
from flows.steps.progress import listening
from flows.steps.too_little import TooLittleData
from infra.interrupts import Interrupts
from infra.process_memory import give_back
from infra.settings import Settings

MEMORY_SAMPLE_S = 5.0  # between two samples, at least
LEFT_OUT = "`mixer demo` goes on with it"  # why a stage beyond the last one asked for was not run
MEMORY_SHARE = 0.005  # of the time that sampling may take: the system counts every page of every process for it


def run_demo(
    settings: Settings, *, plan: str | None = None, until: str | None = None, fresh: bool = False, down: bool = False
) -> int:
    """Run or carry on the main job; returns the process's exit code.

    0: every stage was done, or skipped for a reason that it names. 1: a stage failed. 130: after Ctrl-C. `plan` names one of
    PLANS; a run that is carried on keeps the plan that it was begun with. `until` names the stage to end after, by default that
    of the plan that the command names: what is left out, the next call goes on with.
    """
    left_out = beyond(until or (PLANS[plan].until if plan else None))
    folder, new = open_run(settings, fresh=fresh)
    platform = Platform(settings)
    if new:
        platform.stop()
        reset_live_state(settings, folder)
        folder.begin(plan or TOUR.name)
    else:
        # A killed demo may have left a flow run at work: its stage starts another, and two must not move one release.
        for worker in ("prefect-worker", "prefect-urgent-worker"):
            platform.supervisor.stop(worker)
    chosen = PLANS[folder.plan or TOUR.name]
    title = f"Home Mixer, {'new' if new else 'resumed'} run {folder.name}; log: {folder.log}"
    display = Display([("platform", "platform"), *((stage.name, stage.title) for stage in STAGES)], title)
    for line in announced(settings, chosen, plan, left_out):
        display.console.print(line, highlight=False)
    memory = MemoryWatch(platform)
    interrupts = Interrupts()
    try:
        with interrupts, libraries_to_log(folder.log), memory, display.live():
            _run_stages(Context(settings, platform, folder, chosen), display, left_out)
            summary = build_summary(settings, platform, folder, memory.peak_mb, display.elapsed())
            folder.write_summary(summary)
    except KeyboardInterrupt:
        try:
            interrupts.heard()
            discard_prepared()
        finally:  # whatever a second Ctrl-C breaks off, nothing is left running
            platform.stop()
        display.console.print(f"stopped; all finished stages are kept: run it again to carry on ({folder.folder})")
        return 130
    except Exception as error:
        with folder.log.open("a") as log:
            traceback.print_exc(file=log)
        try:
            end_all()
        finally:
            platform.stop()
        display.console.print(f"[bold red]failed:[/] {error}", highlight=False)
        _say_how_to_go_on(folder, display)
        return 1
    end_all()
    print_summary(summary, display.console)
    return _ended(platform, folder, display, down)


def _ended(platform: Platform, folder: RunFolder, display: Display, down: bool) -> int:
    """The last words, and the exit code."""
    served = folder.output("release") is not None
    if down or not served:
        platform.stop()
    else:
        display.console.print("The platform stays up, so that you can look at the pages; `make down` stops it.")
    failed = {stage.title: outcome.reason for stage in STAGES if (outcome := folder.outcome(stage.name)).state == "failed"}
    for title, reason in failed.items():
        display.console.print(f"[bold red]failed:[/] {title}: {reason}", highlight=False)
    if failed:
        _say_how_to_go_on(folder, display)
    return 1 if failed else 0


def _say_how_to_go_on(folder: RunFolder, display: Display) -> None:
    display.console.print(f"the whole story is in {folder.log}; mend the cause and run it again to carry on", highlight=False)


def _run_stages(context: Context, display: Display, left_out: Collection[str]) -> None:
    display.start("platform")
    waiting = stages_to_run(context.folder, left_out)
    _prepare(waiting[:1], context)
    context.platform.start_foundations()
    names = context.platform.await_foundations(
        paused_schedules=True,
        tell=lambda text: display.tell("platform", text),
        parameters=context.plan.parameters(),
    )
    display.finish("platform", "done", f"Prefect, broker, {len(names)} deployments")
    for stage in STAGES:
        kept = context.folder.outcome(stage.name)
        if stage not in waiting:
            if kept is None:
                kept = context.folder.finish(stage.name, None, 0.0, "left out", LEFT_OUT, again=True)
            if kept.again:
                display.finish(stage.name, kept.state, words_of(stage, kept), 0.0)
            else:
                display.finish(stage.name, "kept", f"kept: {words_of(stage, kept)}", kept.seconds)
            continue
        _prepare(waiting[waiting.index(stage) :][1:2], context)
        run_stage(stage, context, display)


def stages_to_run(folder: RunFolder, left_out: Collection[str]) -> list[Stage]:
    """Those without a result, or to be tried again, but for those left out; and the last: what it showed is outdated."""
    wanted = [stage for stage in STAGES if stage.name not in left_out]
    return [stage for stage in wanted if (kept := folder.outcome(stage.name)) is None or kept.again or stage.name == LAST]


def _prepare(following: list[Stage], context: Context) -> None:
    """Let the process of the stage that follows import what it needs while this one is at work."""
    for stage in following:
        if stage.apart:
            prepare(stage.apart[0], context.folder.log, stage.apart[1:])


def run_stage(stage: Stage, context: Context, display: Display) -> None:
    """Run one stage to whichever end: what became of it is remembered and shown. Only an interrupt goes on from here."""
    folder, started = context.folder, time.monotonic()
    unmet = unmet_need(stage, folder.outcomes())
    if unmet is not None:
        again = any(outcome.again for need in stage.needs if (outcome := folder.outcome(need)) is not None)
        outcome = folder.finish(stage.name, None, 0.0, "skipped", unmet, again=again)
        discard_prepared(stage.apart[0] if stage.apart else "")
        display.finish(stage.name, "skipped", words_of(stage, outcome), 0.0)
        return
    display.start(stage.name)
    with listening(lambda text: display.tell(stage.name, text)):
        try:
            output = stage.run(context)
        except TooLittleData as error:
            outcome = folder.finish(stage.name, None, time.monotonic() - started, "skipped", str(error))
        except Exception as error:
            with folder.log.open("a") as log:
                traceback.print_exc(file=log)
            outcome = folder.finish(stage.name, None, time.monotonic() - started, "failed", str(error), again=True)
        except BaseException:
            display.finish(stage.name, "failed", "stopped")
            raise
        else:
            lacking = stage.lacking(output)
            state = "done" if lacking is None else "partly"
            outcome = folder.finish(stage.name, output, time.monotonic() - started, state, lacking)
    give_back()
    display.finish(stage.name, outcome.state, words_of(stage, outcome))


def words_of(stage: Stage, outcome: Outcome) -> str:
    """What became of the stage, in one line."""
    if outcome.output is None:
        return f"{outcome.state}: {outcome.reason}"
    told = stage.told(outcome.output)
    return told if outcome.reason is None else f"{told}; {outcome.reason}"


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
        rest = MEMORY_SAMPLE_S
        while not self._stop.wait(rest):
            started = time.thread_time()
            self.peak_mb = max(self.peak_mb, self.platform.supervisor.total_mb(also=os.getpid()))
            rest = max(MEMORY_SAMPLE_S, (time.thread_time() - started) / MEMORY_SHARE)
