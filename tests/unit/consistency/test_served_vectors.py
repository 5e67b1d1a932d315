"""The log of served vectors: what goes in comes out, files stay few, and a line that is being written is left alone."""

from __future__ import annotations

import numpy as np

from feature_repo.recomputation import served_vectors
from feature_repo.recomputation.served_vectors import ServedVector, ServedVectorLog, read_served_vectors, served_files


def vector(key: int, read_at_us: int = 1_000) -> ServedVector:
    return ServedVector("user", key, np.array([0.1, np.float32(1) / 3, 7.0], np.float32), 5, 4, read_at_us, None)


def test_vectors_come_back_as_they_were_served(tmp_path):
    log = ServedVectorLog(tmp_path, "r1-77")
    log.append("q-1", "r1", [vector(1), vector(2)])
    log.append("q-2", "r1", [vector(3, read_at_us=2_000)])
    found = read_served_vectors(tmp_path)
    assert [one.key for one in found] == [1, 2, 3]
    np.testing.assert_array_equal(found[0].values, vector(1).values)
    assert found[0].values.dtype == np.float32
    assert (found[0].now_us, found[0].updated_at_us, found[0].as_of_us) == (5, 4, None)
    assert [one.key for one in read_served_vectors(tmp_path, since_us=1_500)] == [3]
    assert read_served_vectors(tmp_path / "nothing") == []


def test_a_line_that_is_being_written_is_left_alone(tmp_path):
    log = ServedVectorLog(tmp_path, "r1-77")
    log.append("q-1", "r1", [vector(1)])
    (file,) = served_files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    assert [one.key for one in read_served_vectors(tmp_path)] == [1]


def test_the_log_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(served_vectors, "MOST_BYTES", 100)
    log = ServedVectorLog(tmp_path, "r1-77")
    for number in range(20):
        log.append(f"q-{number}", "r1", [vector(number, read_at_us=1_000 + number)])
    files = served_files(tmp_path)
    assert len(files) == served_vectors.FILES_KEPT
    assert [one.key for one in read_served_vectors(tmp_path)] == list(range(12, 20))
