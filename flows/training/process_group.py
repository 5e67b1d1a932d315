"""The processes that train one network together: each learns from its share of every batch, all take the same step.

Gradients are averaged by hand rather than by DistributedDataParallel: a training's loss is a function of row indices, not a
module's forward, and shares that differ in size must weigh what their rows weigh.
"""

from __future__ import annotations

import atexit
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

CPU = torch.device("cpu")


class ProcessGroupError(RuntimeError):
    """The processes do not train the same thing."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among those that train together; one alone needs no messages."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU  # on which messages travel

    @staticmethod
    def current(device: torch.device = CPU) -> ProcessGroup:
        """The group that torchrun started this process in, joined on the first call; a group of one otherwise.

        Messages go over gloo between CPUs, over NCCL between GPUs.
        """
        if not dist.is_available():
            return ProcessGroup()
        if not dist.is_initialized():
            if not dist.is_torchelastic_launched():
                return ProcessGroup()
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(dist.destroy_process_group)
        return ProcessGroup(dist.get_rank(), dist.get_world_size(), device)

    @property
    def leads(self) -> bool:
        """True in the one process that writes and tells."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a global batch (n,); parts differ in size by one at most, and may be empty."""
        return batch.tensor_split(self.size)[self.rank]

    def agree(self, identity: str, name: str) -> None:
        """Raises ProcessGroupError where this process would train something other than the first one would."""
        if self.size > 1 and (first := self.broadcast(identity.encode()).decode()) != identity:
            raise ProcessGroupError(
                f"{name}: process {self.rank} would train on {identity}, process 0 on {first}; give all of them the same rows"
            )

    def broadcast(self, content: bytes) -> bytes:
        """The first process's `content`, in all of them."""
        if self.size == 1:
            return content
        length = torch.tensor([len(content)], device=self.device)
        dist.broadcast(length, 0)
        received = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if self.leads and content:
            received.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(received, 0)
        return received.cpu().numpy().tobytes()

    def same_weights(self, model: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def summed(self, values: Tensor) -> Tensor:
        """The sum of every process's `values`; the same bits in all of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, loss: Tensor, model: nn.Module) -> Tensor:
        """Make every gradient the sum over the processes, in one message; returns the sum of `loss` (scalar).

        A parameter that no process has a gradient of keeps none: the optimiser leaves it alone, as it would in one process.
        """
        if self.size == 1:
            return loss
        parameters = [p for p in model.parameters() if p.requires_grad]
        present = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        message = self.summed(torch.cat([loss.reshape(1), present, *(part.flatten() for part in parts)]))
        anywhere = message[1 : 1 + len(parameters)].tolist()
        summed = message[1 + len(parameters) :].split([p.numel() for p in parameters])
        for parameter, gradient, there in zip(parameters, summed, anywhere, strict=True):
            parameter.grad = gradient.view_as(parameter) if there else None
        return message[0]
