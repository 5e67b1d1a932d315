"""Fit the members of the heavy ranker: side by side in processes of their own where there are threads for it, else in turn.

A network of this size gains little from a second thread: its products are short (on two cores 200 steps took 18 s with two
threads that spin, 22 s with one, and 48 to 79 s with two threads that yield, as this platform has them). Two members beside
each other gain the whole second core. So a member has one thread on a CPU, and both ways come to the same weights.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from feature_repo.row_shards import open_rows, pieces_of, write_rows
from flows.training.epochs import OnProgress, Trained
from flows.training.fit_heavy import KeptOut, fit_heavy, schedule_for
from flows.training.hardware import Hardware, torch_threads
from flows.training.learned_rows import LearnedRows, held_out_rows
from flows.training.negative_sampling import sample_negatives
from flows.training.process_group import ProcessGroup
from flows.training.progress_lines import TAIL, hear, say
from flows.training.recipe import Recipe
from infra.full_disk import told_when_full
from services.ranking.encoded_rows import EncodedRows
from services.ranking.inputs import TableBits
from services.ranking.members import Heavy, as_one
from services.ranking.normalise import Normaliser
from services.ranking.presets import Ranker, build, ranker_config

SEEDS_APART = 1_000_003  # so that a member's draws are not those of another bundle's seed
_RECIPE, _ROWS, _NORMALISER, _TARGETS = "recipe.json", "rows", "normaliser.safetensors", "targets.npy"


class MemberFailed(RuntimeError):
    """The process that trained a member ended without it."""


def member_name(number: int) -> str:
    """Of its checkpoints, its progress and its losses."""
    return "heavy" if number == 0 else f"heavy_{number + 1}"


def fit_members(
    learned: LearnedRows, targets: np.ndarray, how: Recipe, checkpoints: Path, on_progress: OnProgress | None = None
) -> tuple[Heavy, dict[str, Trained]]:
    """The heavy ranker of `how.members` networks, and by name what the training of each came to.

    `targets`: float32 (fitted rows, len(HEADS)). Killed and called again, every member carries on from its last checkpoint.
    Raises MemberFailed with what a process said last; the others are ended then.
    """
    hardware = Hardware.chosen(how.device, how.precision)
    beside = min(how.members, how.threads)
    if beside > 1 and hardware.device.type == "cpu" and ProcessGroup.current().size == 1:
        found = _side_by_side(learned, targets, how, checkpoints, beside, on_progress)
    else:
        with torch_threads(1 if hardware.device.type == "cpu" else how.threads):
            found = [fit_member(learned, targets, how, number, checkpoints, on_progress) for number in range(how.members)]
    return as_one([member for member, _ in found]), {member_name(n): trained for n, (_, trained) in enumerate(found)}


def fit_member(
    learned: LearnedRows,
    targets: np.ndarray,
    how: Recipe,
    number: int,
    checkpoints: Path,
    on_progress: OnProgress | None = None,
) -> tuple[Ranker, Trained]:
    """One member, in this process."""
    rows, chosen = learned.rows, learned.fitted.chosen
    negatives = None if how.kept_negatives == 1 else sample_negatives(rows.labels[chosen], how.kept_negatives, how.seed)
    return fit_heavy(
        learned.fitted,
        targets,
        dwell_s=None if rows.dwell_s is None else rows.dwell_s[chosen],
        least=how.heads_least,
        seed=how.seed + number * SEEDS_APART,
        fingerprint=f"{learned.fingerprint}/{how.teacher_share}/{how.kept_negatives}/{how.heads_least}",
        checkpoints=checkpoints,
        config=ranker_config(how.preset, learned.fitted.normaliser.widths, learned.fitted.bits),
        schedule=schedule_for(len(chosen) if negatives is None else len(negatives.rows), how.preset, how.epochs),
        negatives=negatives,
        kept_out=KeptOut(learned.kept_out, learned.calibrating.labels, how.patience) if how.patience else None,
        hardware=Hardware.chosen(how.device, how.precision),
        on_progress=on_progress,
        name=member_name(number),
    )


def _side_by_side(
    learned: LearnedRows, targets: np.ndarray, how: Recipe, checkpoints: Path, beside: int, on_progress: OnProgress | None
) -> list[tuple[Ranker, Trained]]:
    """All members, `beside` at once, each in a process that maps the rows from a folder of this call."""
    scratch = checkpoints.with_name(f".{checkpoints.name}.members")
    shutil.rmtree(scratch, ignore_errors=True)  # of a training that was killed
    running: list[subprocess.Popen] = []
    lock = Lock()

    def tell(name: str, share: float, loss: float) -> None:
        if on_progress is not None:
            with lock:
                on_progress(name, share, loss)

    try:
        _write_task(scratch, learned, targets, how)
        command = [sys.executable, "-m", __spec__.name, str(scratch), str(checkpoints)]
        with ThreadPoolExecutor(beside) as pool:
            asked = [pool.submit(_attend, [*command, str(n)], scratch, n, running, tell) for n in range(how.members)]
            try:
                wait(asked, return_when=FIRST_EXCEPTION)
                for one in asked:
                    if one.done():
                        one.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in running:
                    process.terminate()
                raise
            for one in asked:
                one.result()
        config = ranker_config(how.preset, learned.fitted.normaliser.widths, learned.fitted.bits)
        return [_read_member(scratch, number, build(config)) for number in range(how.members)]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _attend(command: list[str], scratch: Path, number: int, running: list[subprocess.Popen], tell: OnProgress) -> None:
    """Run one member's process to its end, telling its progress."""
    said = scratch / f"{number}.log"
    with said.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        running.append(process)
        assert process.stdout is not None
        hear(process.stdout, tell)
    if process.returncode != 0:
        raise MemberFailed(
            f"the process that trains {member_name(number)} ended with {process.returncode}: {said.read_text()[-TAIL:]}\n"
            "Run it again to carry on from the last checkpoint, or train members in turn with MIXER_THREADS=1."
        )


def _write_task(scratch: Path, learned: LearnedRows, targets: np.ndarray, how: Recipe) -> None:
    with told_when_full(scratch):
        scratch.mkdir(parents=True)
        write_rows(scratch / _ROWS, pieces_of(learned.rows))
        save_arrays(learned.fitted.normaliser.arrays(), scratch / _NORMALISER)
        np.save(scratch / _TARGETS, targets)
        content = {"how": asdict(how), "fingerprint": learned.fingerprint, "bits": asdict(learned.fitted.bits)}
        (scratch / _RECIPE).write_text(json.dumps(content))


def _read_task(scratch: Path) -> tuple[LearnedRows, np.ndarray, Recipe]:
    """What `_write_task` wrote; rows and targets are mapped, and without the vectors that rows hold already."""
    content = json.loads((scratch / _RECIPE).read_text())
    rows = open_rows(scratch / _ROWS, verify=False)
    held_out = held_out_rows(rows)
    normaliser = Normaliser.from_arrays(load_arrays(scratch / _NORMALISER))
    fitted = EncodedRows(rows, normaliser, TableBits(**content["bits"]), np.flatnonzero(~held_out))
    targets = np.load(scratch / _TARGETS, mmap_mode="r", allow_pickle=False)
    return LearnedRows(rows, None, fitted, held_out, content["fingerprint"]), targets, Recipe(**content["how"])


def _read_member(scratch: Path, number: int, member: Ranker) -> tuple[Ranker, Trained]:
    member.load_state_dict({name: torch.from_numpy(array) for name, array in load_arrays(_weights(scratch, number)).items()})
    content = json.loads(_report(scratch, number).read_text())
    return member, Trained(**{**content, "validated": [tuple(one) for one in content["validated"]]})


def _weights(scratch: Path, number: int) -> Path:
    return scratch / f"{number}.safetensors"


def _report(scratch: Path, number: int) -> Path:
    return scratch / f"{number}.json"


def main(scratch: str, checkpoints: str, number: str) -> None:
    """One of the processes. It ends where nobody reads its progress any more."""
    torch.set_num_threads(1)
    place, which = Path(scratch), int(number)
    learned, targets, how = _read_task(place)
    member, trained = fit_member(learned, targets, how, which, Path(checkpoints), say)
    weights = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in member.state_dict().items()}
    with told_when_full(place):
        save_arrays(weights, _weights(place, which))
        _report(place, which).write_text(json.dumps(asdict(trained)))


if __name__ == "__main__":
    main(*sys.argv[1:])
