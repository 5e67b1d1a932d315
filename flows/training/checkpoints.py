"""Training checkpoints without pickle: one safetensors file that holds everything and is replaced in one rename."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from infra.storage import replace_atomically

NEWEST = "newest.safetensors"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read or does not fit what is being trained."""


@dataclass(frozen=True)
class Checkpoints:
    """The newest checkpoint of one model's training in `folder`; `fingerprint` names the data and settings that it is of."""

    folder: Path
    fingerprint: str

    def save(self, tensors: dict[str, Tensor]) -> None:
        """Put `tensors` in the place of what was kept before. Whoever is killed meanwhile finds the old file or the new one.

        Raises DiskFull where there is no room: the old file stays, and training carries on from it.
        """
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with replace_atomically(self.folder / NEWEST) as temporary:
            save_file(whole, temporary, metadata={"fingerprint": self.fingerprint})
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())  # or a power cut could leave the new name on an empty file

    def newest(self) -> bytes:
        """The newest checkpoint as `unpacked` reads it, empty where there is none or it is of other data or settings.

        Raises CheckpointError where the file is damaged.
        """
        file = self.folder / NEWEST
        if not file.exists():
            return b""
        try:
            with safe_open(file, "pt") as opened:
                mine = opened.metadata()["fingerprint"] == self.fingerprint
        except SafetensorError as error:
            raise CheckpointError(f"checkpoint {file} is damaged ({error}); delete it to train from the start") from error
        return file.read_bytes() if mine else b""


def unpacked(content: bytes) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU, in memory of their own."""
    return {name: tensor.clone() for name, tensor in load(content).items()}
