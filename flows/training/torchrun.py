"""The command that starts several training processes on this machine."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping


def torchrun_command(processes: int, module: str, *arguments: str) -> list[str]:
    """Run `module` in as many processes; they find each other on a free port of this machine, chosen as they start."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, "-m", module, *arguments]


def torchrun_environment() -> Mapping[str, str]:
    """What such processes need on top of their parent's environment: gloo talks over the loopback interface only."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    return {"GLOO_SOCKET_IFNAME": loopback}
