"""Training checkpoints without pickle: weights and Adam's moments as safetensors, progress as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from infra.storage import replace_atomically

_PROGRESS = "progress.json"


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints of one model's training under `folder`; `fingerprint` names the data and settings that they belong to."""

    folder: Path
    fingerprint: str

    def save(self, part: int, model: nn.Module, optimiser: torch.optim.Optimizer, losses: list[float]) -> None:
        """Remember the state after `part` (0-based, over all epochs). The progress file comes last: what it names is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value).contiguous() for name, value in state.items()}
        with replace_atomically(self.folder / f"part-{part}.safetensors") as temporary:
            save_file(tensors, temporary)
        with replace_atomically(self.folder / _PROGRESS) as temporary:
            temporary.write_text(json.dumps({"fingerprint": self.fingerprint, "part": part, "losses": losses}))
        for stale in self.folder.glob("part-*.safetensors"):
            if stale.name != f"part-{part}.safetensors":
                stale.unlink()

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, list[float]]:
        """Load the newest state into `model` and `optimiser`; returns (next part, losses so far), (0, []) where there is none.

        A checkpoint of other data or settings is not used.
        """
        file = self.folder / _PROGRESS
        if not file.exists():
            return 0, []
        progress = json.loads(file.read_text())
        if progress["fingerprint"] != self.fingerprint:
            return 0, []
        tensors = load_file(self.folder / f"part-{progress['part']}.safetensors")
        model.load_state_dict({name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                state.setdefault(int(index), {})[name] = tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        return progress["part"] + 1, progress["losses"]
