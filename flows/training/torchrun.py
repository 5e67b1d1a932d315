"""The command that starts several training processes on this machine."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path


def torchrun_command(processes: int, scratch: Path, module: str, *arguments: str) -> list[str]:
    """Run `module` in as many processes; they find each other on a free port of this machine, chosen as they start.

    torchrun keeps its records in `scratch`; told nothing, it leaves a folder behind among the machine's temporary files.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, f"--log-dir={scratch / 'torchrun'}", "-m", module, *arguments]


def torchrun_environment() -> Mapping[str, str]:
    """What such processes need on top of their parent's environment: gloo talks over the loopback interface only."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    return {"GLOO_SOCKET_IFNAME": loopback}
