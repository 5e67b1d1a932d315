"""Train a bundle in several processes of this machine: the launcher, and the program that torchrun starts in each of them.

Every process maps the same rows from a folder and goes through the same training; the networks' steps are taken together (see
`process_group`). What the first process makes is the bundle; the others' copies, made in step, are thrown away.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from feature_repo.feature_rows import FeatureRows
from feature_repo.row_shards import open_rows, pieces_of, write_rows
from flows.training.epochs import OnProgress
from flows.training.fit import TrainReport, train_bundle
from flows.training.process_group import ProcessGroup
from flows.training.progress_lines import TAIL, hear, say
from flows.training.torchrun import torchrun_command, torchrun_environment
from infra.settings import Settings

ROWS, REPORT, ERRORS = "rows", "report.json", "errors.log"


class TrainingProcessesError(RuntimeError):
    """The processes that trained together ended without a bundle."""


def train_in_processes(
    settings: Settings,
    train: FeatureRows,
    folder: Path,
    *,
    processes: int,
    options: dict[str, Any],
    on_progress: OnProgress | None = None,
) -> TrainReport:
    """`train_bundle(train, None, folder, **options)` by that many processes, which share `options["threads"]`.

    Killed and called again, it carries on from the last checkpoint. Processes whose launcher is gone stop by themselves: the
    first one cannot tell its progress. Raises TrainingProcessesError with what they said last.
    """
    options = {**options, "threads": max(1, options["threads"] // processes)}
    scratch = folder.with_name(f".{folder.name}.processes")
    shutil.rmtree(scratch, ignore_errors=True)  # of a launcher that was killed
    scratch.mkdir(parents=True)
    try:
        write_rows(scratch / ROWS, pieces_of(train))
        command = torchrun_command(processes, scratch, __spec__.name, str(scratch), str(folder), json.dumps(options))
        environment = settings.process_environment({**torchrun_environment(), "OMP_NUM_THREADS": str(options["threads"])})
        with (scratch / ERRORS).open("w") as errors:
            returned = _attended(command, environment, errors, on_progress)
        if returned != 0:
            raise TrainingProcessesError(
                f"{processes} training processes ended with {returned}: {_reasons(scratch)}\n"
                "Run it again to carry on from the last checkpoint, or set MIXER_TRAIN_PROCESSES=1."
            )
        content = json.loads((scratch / REPORT).read_text())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return TrainReport(**{**content, "folder": Path(content["folder"])})


def _attended(command: list[str], environment: dict[str, str], errors: Any, on_progress: OnProgress | None) -> int:
    """Run `command` to its end, telling progress; ends it where telling fails. Returns its exit status."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            assert process.stdout is not None
            hear(process.stdout, on_progress)
        except BaseException:
            process.terminate()  # torchrun ends its processes on that
            raise
        return process.wait()


def _reasons(scratch: Path) -> str:
    """What the processes failed on, by process; where they were killed, what torchrun says of it."""
    failures = [f"process {file.suffix[1:]}: {file.read_text()}" for file in sorted(scratch.glob("failed.*"))]
    return "; ".join(failures) or (scratch / ERRORS).read_text()[-TAIL:]


def main(scratch: str, folder: str, options: str) -> None:
    """One of the processes."""
    group = ProcessGroup.current()
    target = Path(folder) if group.leads else Path(scratch) / f"copy-{group.rank}"
    try:
        rows = open_rows(Path(scratch) / ROWS, verify=False)
        report = train_bundle(rows, None, target, **json.loads(options), on_progress=say)
    except Exception as error:
        (Path(scratch) / f"failed.{group.rank}").write_text(f"{type(error).__name__}: {error}")
        raise
    if group.leads:
        (Path(scratch) / REPORT).write_text(json.dumps(report.as_json()))


if __name__ == "__main__":
    main(*sys.argv[1:])
