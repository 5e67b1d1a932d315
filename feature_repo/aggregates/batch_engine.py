"""DuckDB as the batch engine of one machine: within a memory limit, with a scratch folder for what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend


@dataclass(frozen=True)
class EngineLimits:
    """What a run of the batch engine may take of the machine. `scratch` is a folder on a disk with room to spill to."""

    scratch: Path
    memory_gb: float = 4.0
    threads: int = 2

    def __post_init__(self) -> None:
        if self.memory_gb < 0.25 or self.threads < 1:
            raise ValueError(
                f"the batch engine needs 0.25 GB and 1 thread at least, got {self.memory_gb} GB and {self.threads} threads"
            )


@contextmanager
def open_engine(limits: EngineLimits) -> Iterator[Backend]:
    """An Ibis connection to DuckDB within `limits`; what it spilled is gone when the block ends."""
    import ibis

    limits.scratch.mkdir(parents=True, exist_ok=True)
    spill = mkdtemp(prefix="spill-", dir=limits.scratch)
    connection = ibis.duckdb.connect(
        threads=limits.threads,
        memory_limit=f"{round(limits.memory_gb * 1000)}MB",
        temp_directory=spill,
        preserve_insertion_order=False,  # keeping it would hold whole results in memory
    )
    connection.raw_sql("SET enable_progress_bar = false")  # Ibis turns it on; whoever runs the engine shows its progress
    try:
        yield connection
    finally:
        connection.disconnect()
        rmtree(spill)
