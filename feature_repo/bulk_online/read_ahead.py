"""Items made by another thread, some ahead of the thread that uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Generator[T], ahead: int) -> Iterator[T]:
    """The items of `items` in their order; while one is used, up to `ahead` more are made.

    Worth it where both sides leave the interpreter (Parquet, SQLite). `ahead` + 1 items are in memory at most. What `items`
    raises is raised here, after all items before it; where the caller stops early, `items` is closed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        try:
            upcoming = deque(thread.submit(_next, items) for _ in range(ahead))
            while found := upcoming.popleft().result():
                upcoming.append(thread.submit(_next, items))
                yield found[0]
        finally:
            for future in upcoming:
                future.cancel()
            thread.submit(items.close).result()  # behind the item that is being made: a running generator cannot be closed


def _next(items: Generator[T]) -> tuple[T] | None:
    for item in items:
        return (item,)
    return None
