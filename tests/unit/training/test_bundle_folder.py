"""Two trainings on equal data never write into one folder at the same time; a killed one leaves its folder free."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

from flows.training.bundle_folder import bundle_folder


def test_a_second_training_waits_for_the_first_and_says_so(tmp_path):
    told, order = [], []
    waiting = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        waiting.set()

    def second() -> None:
        with bundle_folder(tmp_path, "champion-1", tell) as folder:
            order.append(f"second in {folder.name}")

    thread = threading.Thread(target=second)
    with bundle_folder(tmp_path, "champion-1") as folder:
        thread.start()
        assert waiting.wait(10)
        order.append(f"first in {folder.name}")
    thread.join(10)
    assert order == ["first in champion-1", "second in champion-1"]
    assert told == [f"another training on the same data is at work in {tmp_path / 'champion-1'}: waiting for it to end"]


def test_trainings_on_other_data_do_not_wait(tmp_path):
    with bundle_folder(tmp_path, "champion-1") as one, bundle_folder(tmp_path, "champion-2") as other:
        assert one != other


def _hold_for_ever(place: Path, held) -> None:
    with bundle_folder(place, "champion-1") as folder:
        folder.mkdir()
        (folder / "checkpoint").write_text("step 100")
        held.set()
        threading.Event().wait()


def test_a_killed_training_leaves_its_checkpoints_and_no_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=_hold_for_ever, args=(tmp_path, held))
    process.start()
    assert held.wait(10)
    process.kill()
    process.join(10)
    told = []
    with bundle_folder(tmp_path, "champion-1", told.append) as folder:
        assert (folder / "checkpoint").read_text() == "step 100"
    assert told == []
