"""The fetch, against a real HTTP server that cuts connections, lies about checksums, and knows ranges or does not."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from feature_repo.datasets.fetch import ARCHIVE, FetchError, fetch_kuairand
from feature_repo.datasets.kuairand.adapter import KuaiRand
from tests.unit.datasets.kuairand_folder import write_official


@dataclass
class Record:
    """What the server gives: the archive, and its misbehaviour."""

    archive: bytes
    md5: str | None = None  # None: the true one
    size: int | None = None  # None: the true one
    files: list[str] = field(default_factory=lambda: [ARCHIVE])
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which each of the first answers is cut off
    status: int = 200
    asked: list[str | None] = field(default_factory=list)  # Range header of each request for the archive


class Handler(BaseHTTPRequestHandler):
    record: Record

    def do_GET(self) -> None:
        if self.path == "/record":
            self._answer(200, json.dumps(self._metadata()).encode())
        elif self.path == "/broken":
            self._answer(200, b"<html>maintenance</html>")
        elif self.path == "/archive":
            self._archive()
        else:
            self._answer(404, b"")

    def _metadata(self) -> dict:
        record = self.record
        url = f"http://127.0.0.1:{self.server.server_address[1]}/archive"
        checksum = f"md5:{record.md5 or hashlib.md5(record.archive).hexdigest()}"
        size = len(record.archive) if record.size is None else record.size
        return {"files": [{"key": name, "size": size, "checksum": checksum, "links": {"self": url}} for name in record.files]}

    def _archive(self) -> None:
        record = self.record
        asked = self.headers.get("Range")
        record.asked.append(asked)
        if record.status != 200:
            self._answer(record.status, b"")
            return
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and record.ranges else 0
        body = record.archive[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(record.archive) - 1}/{len(record.archive)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if record.cuts:
            self.wfile.write(body[: record.cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: pytest's output is for the tests."""


@contextmanager
def serving(record: Record) -> Iterator[str]:
    """Serve `record` on a free port; yields the address of the server."""
    handler = type("RecordHandler", (Handler,), {"record": record})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def fetch(target: Path, record: Record, path: str = "/record", **options: object) -> Path:
    with serving(record) as address:
        return fetch_kuairand(target, address + path, retry_wait_s=0.0, **options)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive laid out as the official one."""
    folder = write_official(tmp_path_factory.mktemp("official") / "KuaiRand-Pure" / "data")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as bundle:
        bundle.add(folder.parent, "KuaiRand-Pure")
    return packed.getvalue()


def test_the_archive_is_fetched_checked_and_unpacked(tmp_path: Path, archive: bytes) -> None:
    seen: list[tuple[int, int]] = []
    folder = fetch(tmp_path, Record(archive), on_progress=lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "KuaiRand-Pure" / "data"
    assert KuaiRand(folder).tables().events.height == 2
    assert seen[0] == (0, len(archive)) and seen[-1] == (len(archive), len(archive))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_second_fetch_asks_for_nothing(tmp_path: Path, archive: bytes) -> None:
    record = Record(archive)
    first = fetch(tmp_path, record)
    assert fetch_kuairand(tmp_path, "http://127.0.0.1:9/never") == first
    assert len(record.asked) == 1


def test_a_cut_connection_is_resumed_where_it_was_cut(tmp_path: Path, archive: bytes) -> None:
    record = Record(archive, cuts=[100, 250])
    folder = fetch(tmp_path, record)
    assert record.asked == [None, "bytes=100-", "bytes=350-"]
    assert KuaiRand(folder).tables().events.height == 2


def test_what_an_earlier_process_began_is_resumed(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / f"{ARCHIVE}.part").write_bytes(archive[:200])
    record = Record(archive)
    fetch(tmp_path, record)
    assert record.asked == ["bytes=200-"]


def test_a_server_without_ranges_gives_the_file_from_its_start(tmp_path: Path, archive: bytes) -> None:
    record = Record(archive, ranges=False, cuts=[100])
    folder = fetch(tmp_path, record)
    assert record.asked == [None, "bytes=100-"]
    assert KuaiRand(folder).tables().events.height == 2


def test_a_connection_that_never_gives_a_byte_ends_in_advice_and_keeps_what_came(tmp_path: Path, archive: bytes) -> None:
    record = Record(archive, cuts=[120] + [0] * 20)
    with pytest.raises(FetchError) as caught:
        fetch(tmp_path, record)
    assert len(record.asked) == 1 + 5
    assert (tmp_path / f"{ARCHIVE}.part").stat().st_size == 120
    for advice in (str(tmp_path / ARCHIVE), "zenodo.org/records/10439422", "MIXER_DATASET=world"):
        assert advice in str(caught.value)


def test_a_wrong_checksum_is_refused_and_the_damaged_file_removed(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(FetchError, match="md5 is .* but the record says 0000"):
        fetch(tmp_path, Record(archive, md5="0" * 32))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_part_is_found_out_by_the_checksum_and_the_next_run_recovers(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / f"{ARCHIVE}.part").write_bytes(b"x" * 200)
    with pytest.raises(FetchError, match="run this again"):
        fetch(tmp_path, Record(archive))
    assert fetch(tmp_path, Record(archive)).is_dir()


@pytest.mark.parametrize("size", [50, 10**9])
def test_a_file_of_another_size_than_the_record_says_is_refused(tmp_path: Path, archive: bytes, size: int) -> None:
    with pytest.raises(FetchError):
        fetch(tmp_path, Record(archive, size=size))


def test_a_refusal_is_not_asked_again(tmp_path: Path, archive: bytes) -> None:
    record = Record(archive, status=403)
    with pytest.raises(FetchError, match="403"):
        fetch(tmp_path, record)
    assert len(record.asked) == 1


@pytest.mark.parametrize(
    ("path", "problem"), [("/nowhere", "404"), ("/broken", "is not a record"), ("/record", "lists .*other.zip")]
)
def test_a_record_that_does_not_help_is_named_with_advice(tmp_path: Path, archive: bytes, path: str, problem: str) -> None:
    with pytest.raises(FetchError, match=problem) as caught:
        fetch(tmp_path, Record(archive, files=["other.zip"]), path)
    assert str(tmp_path / ARCHIVE) in str(caught.value)


def test_without_a_network_the_advice_says_where_to_put_the_archive_and_following_it_works(
    tmp_path: Path, archive: bytes
) -> None:
    with serving(Record(archive)) as address:
        closed = address
    with pytest.raises(FetchError) as caught:
        fetch_kuairand(tmp_path, closed + "/record")
    assert str(tmp_path / ARCHIVE) in str(caught.value)
    (tmp_path / ARCHIVE).write_bytes(archive)
    assert KuaiRand(fetch_kuairand(tmp_path, closed + "/record")).tables().events.height == 2


def test_an_archive_that_reaches_outside_its_folder_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as bundle:
        entry = tarfile.TarInfo("../escaped.txt")
        entry.size = 4
        bundle.addfile(entry, io.BytesIO(b"gone"))
    target = tmp_path / "data"
    with pytest.raises(FetchError, match="could not be unpacked"):
        fetch(target, Record(packed.getvalue()))
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not (target / "KuaiRand-Pure").exists()


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as bundle:
        bundle.addfile(tarfile.TarInfo("KuaiRand-Pure/readme.txt"), io.BytesIO(b""))
    with pytest.raises(FetchError, match="holds no KuaiRand-Pure logs"):
        fetch(tmp_path, Record(packed.getvalue()))
