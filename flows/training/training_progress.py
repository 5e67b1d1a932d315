"""All that a training is in the middle of: weights, moments, the losses so far; to tensors and back, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from flows.training.checkpoints import CheckpointError


@dataclass
class TrainingProgress:
    """A model and its optimiser after as many steps as `curve` has losses."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    curve: list[float] = field(default_factory=list)  # loss of every step

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, by name."""
        kept = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            kept |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return {**kept, "curve": torch.tensor(self.curve, dtype=torch.float64)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave. Raises CheckpointError where the model is another."""
        try:
            self.model.load_state_dict(_under("model.", tensors))
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint is of another model ({error}); delete it to train from the start") from error
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _under("optimiser.", tensors).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.curve = tensors["curve"].tolist()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
