"""Items made ahead by another thread: all of them, in order, errors and ends included."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from feature_repo.bulk_online.read_ahead import read_ahead


@pytest.mark.parametrize("ahead", [1, 3, 50])
def test_every_item_comes_in_its_order(ahead):
    assert list(read_ahead((number for number in range(20)), ahead)) == list(range(20))


def test_no_item_is_no_item():
    assert list(read_ahead((number for number in ()), 2)) == []


def test_items_are_made_by_another_thread_and_no_further_ahead_than_said():
    made, makers, enough = [], set(), threading.Event()

    def items():
        for number in range(10):
            makers.add(threading.current_thread())
            made.append(number)
            if number == 3:
                enough.set()
            yield number

    found = read_ahead(items(), 3)
    assert next(found) == 0
    assert enough.wait(10)  # three more than the one that is used
    found.close()
    assert made == [0, 1, 2, 3]
    assert threading.current_thread() not in makers


def test_an_error_comes_behind_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("the file has gone")

    found = read_ahead(items(), 5)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(OSError, match="the file has gone"):
        next(found)


def test_who_stops_early_closes_the_source():
    closed = threading.Event()

    def items():
        try:
            yield from range(100)
        finally:
            closed.set()

    with closing(read_ahead(items(), 2)) as found:
        next(found)
    assert closed.is_set()
