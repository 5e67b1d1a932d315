"""Where a network is trained, and in what precision: chosen here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

Placed = TypeVar("Placed")
CPU = torch.device("cpu")


class HardwareError(RuntimeError):
    """The device that a training asks for is not there."""


@dataclass(frozen=True)
class Hardware:
    """A device, and the precision of the products on it: weights, moments and losses are float32 in either."""

    device: torch.device = CPU
    precision: Literal["float32", "bfloat16"] = "float32"

    @staticmethod
    def chosen(device: str = "auto", precision: str = "auto") -> Hardware:
        """`auto` takes a GPU where there is one, and bfloat16 on a GPU that has it; a CPU stays with float32.

        Processes that train together take a GPU each. Raises HardwareError.
        """
        if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
            return Hardware(CPU, "bfloat16" if precision == "bfloat16" else "float32")
        if not torch.cuda.is_available():
            raise HardwareError("MIXER_TRAIN_DEVICE=cuda, but torch sees no GPU; install a CUDA build of torch, or choose auto")
        own, there = dist.get_node_local_rank(0) if dist.is_available() else 0, torch.cuda.device_count()
        if own >= there:
            raise HardwareError(
                f"training process {own} of this machine has no GPU of its own, {there} are there; "
                f"set MIXER_TRAIN_PROCESSES={there} or MIXER_TRAIN_DEVICE=cpu"
            )
        torch.cuda.set_device(own)
        if precision == "auto":
            precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
        return Hardware(torch.device("cuda", own), "bfloat16" if precision == "bfloat16" else "float32")

    def autocast(self) -> torch.autocast:
        """The context in which a loss is computed."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    def place(self, value: Placed) -> Placed:
        """`value` on the device: a tensor, or a mapping or dataclass that holds some at any depth; all else stays as it is."""
        moved: Any = value
        if isinstance(value, torch.Tensor):
            moved = value.to(self.device)
        elif isinstance(value, Mapping):
            moved = {key: self.place(held) for key, held in value.items()}
        elif is_dataclass(value) and not isinstance(value, type):
            moved = replace(value, **{field.name: self.place(getattr(value, field.name)) for field in fields(value)})
        return moved


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch's threads in this process while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
