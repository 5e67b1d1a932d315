"""What all tests share: libraries' environment, and quiet where nobody can act."""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings
from xdist.remote import Producer

from infra.native_teardown import mute_native_teardown
from infra.settings import quiet_libraries
from tests.said import SAID_AT_THE_END
from tests.work_units import UnitScheduling, place_of

# A process that pytest-xdist starts has a main module without origin, which PySpark takes for its own doctests: it exits.
# Here it is what it would be without xdist.
main = sys.modules["__main__"]
if main.__spec__ is None and not hasattr(main, "__file__"):
    main.__spec__ = importlib.util.find_spec("pytest.__main__")

mute_native_teardown()
quiet_libraries()

# A busy machine is no failed law: examples are bounded in number, not in milliseconds.
settings.register_profile("home-mixer", deadline=None)
settings.load_profile("home-mixer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: no garbage collection walks through it, neither now nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> UnitScheduling:
    return UnitScheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests wanted to be read: also where they ran in another process."""
    for report in terminalreporter.getreports("passed"):
        for name, said in report.user_properties:
            if name == SAID_AT_THE_END:
                terminalreporter.write_line(said)
