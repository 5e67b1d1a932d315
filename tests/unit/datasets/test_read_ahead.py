"""Reading ahead changes neither the order of the batches nor where an error comes, and ends what it reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from feature_repo.datasets.read_ahead import read_ahead


class Source:
    """Counts up to `upto`, then fails; remembers in which thread it worked and whether it was closed."""

    def __init__(self, upto: int) -> None:
        self.upto, self.closed, self.thread = upto, False, ""

    def batches(self) -> Iterator[int]:
        try:
            self.thread = threading.current_thread().name
            yield from range(self.upto)
            raise ValueError("broken file")
        finally:
            self.closed = True


def test_batches_come_in_order_from_another_thread_and_the_error_after_them() -> None:
    source, seen = Source(5), []
    with pytest.raises(ValueError, match="broken file"):
        for batch in read_ahead(source.batches()):
            seen.append(batch)
    assert seen == [0, 1, 2, 3, 4]
    assert source.closed and source.thread.startswith("read-ahead")


def test_nothing_is_read_on_once_its_reader_stops() -> None:
    source = Source(1_000)
    ahead = read_ahead(source.batches())
    assert next(ahead) == 0
    ahead.close()
    assert source.closed
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())


def test_an_empty_source_ends_at_once() -> None:
    assert list(read_ahead([])) == []
