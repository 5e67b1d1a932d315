"""Reads the next batch while the last one is worked on."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")

_END = object()


def read_ahead(batches: Iterable[Batch]) -> Iterator[Batch]:
    """`batches` in their order, each made in a thread of its own while the one before is used; errors come in their place.

    One batch more than without it is held in memory. The thread ends with this iterator.
    """
    made = iter(batches)
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
            coming = thread.submit(next, made, _END)
            while (batch := coming.result()) is not _END:
                coming = thread.submit(next, made, _END)
                yield batch
                del batch
    finally:
        if isinstance(made, Generator):
            made.close()
