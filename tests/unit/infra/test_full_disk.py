"""What a full disk is told as, and what is none."""

from __future__ import annotations

import errno
import pickle

import pytest

from infra.full_disk import DiskFull, told_when_full
from infra.storage import replace_atomically


class SaidInWords(Exception):
    """As libraries written in Rust do."""


@pytest.mark.parametrize(
    ("error", "number", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC, "make room on the disk of .*/models"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.EDQUOT, "make room within your quota on the disk of .*/models"),
        (SaidInWords("I/O error: File too large (os error 27)"), errno.EFBIG, "ulimit -f"),
    ],
)
def test_no_room_is_told_with_the_file_and_the_remedy(tmp_path, error, number, remedy):
    said = pytest.raises(DiskFull, match=f"/models/heavy cannot be written: .*{remedy}.* and run it again")
    with said as raised, told_when_full(tmp_path / "models" / "heavy"):
        raise error
    assert raised.value.errno == number and raised.value.__cause__ is error
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # as it comes from another process


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "Permission denied"), ValueError("no rows"), SaidInWords("(os error 13)")]
)
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as raised, told_when_full(tmp_path / "heavy"):
        raise error
    assert raised.value is error


def test_the_file_that_found_no_room_is_named_not_the_one_around_it(tmp_path):
    named = pytest.raises(DiskFull, match="inner cannot be written")
    with named, replace_atomically(tmp_path / "outer"), replace_atomically(tmp_path / "inner"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
