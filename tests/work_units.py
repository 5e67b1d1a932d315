"""How `make test` shares tests out to its processes: in units that share fixtures, the longest units first."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Begun last, each of these would keep one process busy while the others have nothing left. The end-to-end tour waits for
# servers most of its time: begun first, it leaves the machine to the other processes.
LONGEST_FILES = (
    "tests/end_to_end/test_demo.py",
    "tests/faults/test_stream_killed_fifty_times.py",
    "tests/bench/quality/test_peers.py",
)
# Folders whose files share fixtures of the session that take longer to make than the tests that need them.
SHARED_FOLDERS = ("tests/integration/mixer/", "tests/integration/evaluation/")


def unit_of(nodeid: str) -> str:
    """The unit of a test: its file, or its folder where that shares fixtures."""
    file = nodeid.split("::", 1)[0]
    return next((folder for folder in SHARED_FOLDERS if file.startswith(folder)), file)


def place_of(nodeid: str) -> int:
    """Sorts the longest files first, and leaves all others where they stand."""
    file = nodeid.split("::", 1)[0]
    return LONGEST_FILES.index(file) if file in LONGEST_FILES else len(LONGEST_FILES)


class UnitScheduling(LoadFileScheduling):
    """Gives a process one unit after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
