"""Downloads KuaiRand-Pure from its Zenodo record, resuming what was begun and checking what came."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from feature_repo.datasets.kuairand.layouts import layout_of

RECORD_PAGE = "https://zenodo.org/records/10439422"
RECORD_URL = "https://zenodo.org/api/records/10439422"
ARCHIVE = "KuaiRand-Pure.tar.gz"
FOLDER = "KuaiRand-Pure"

ATTEMPTS = 5  # in a row without a new byte; a download that moves on may be cut as often as it likes
TIMEOUT = httpx.Timeout(60.0, connect=10.0)

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


class FetchError(RuntimeError):
    """The dataset could not be fetched; the message says what to do instead."""


@dataclass(frozen=True)
class RecordFile:
    """What the record says of the archive."""

    url: str
    size: int
    md5: str


def fetch_kuairand(
    target: Path, record_url: str = RECORD_URL, on_progress: Progress | None = None, *, retry_wait_s: float = 1.0
) -> Path:
    """Fetch the archive into `target` and unpack it; returns the folder that the adapter reads.

    Nothing is downloaded where the dataset already lies unpacked in `target`, nor where `target` holds the archive
    under its own name: that is one this function has checked, or one that a person has put there. A cut download is
    resumed from its `.part` file, by this call and by later ones. Raises FetchError.
    """
    unpacked = _unpacked(target / FOLDER)
    if unpacked is not None:
        return unpacked
    target.mkdir(parents=True, exist_ok=True)
    archive = target / ARCHIVE
    if not archive.is_file():
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            record = _read_record(client, record_url, target)
            part = _download(client, record, archive.with_name(ARCHIVE + ".part"), target, on_progress, retry_wait_s)
        _check(part, record)
        part.replace(archive)
    return _unpack(archive, target / FOLDER)


def _by_hand(target: Path) -> str:
    return (
        f"Without a network: download {ARCHIVE} from {RECORD_PAGE} on another machine, put it at {target / ARCHIVE} "
        "and run this again; or set MIXER_DATASET=world to run on the simulated world."
    )


def _read_record(client: httpx.Client, record_url: str, target: Path) -> RecordFile:
    try:
        answer = client.get(record_url)
        answer.raise_for_status()
        files = answer.json()["files"]
        entry = next((file for file in files if file["key"] == ARCHIVE), None)
        if entry is None:
            raise FetchError(f"{record_url} lists {[file['key'] for file in files]}, but not {ARCHIVE}. {_by_hand(target)}")
        method, _, digest = entry["checksum"].partition(":")
        if method != "md5":
            raise FetchError(f"{record_url} gives a {method!r} checksum for {ARCHIVE}; only md5 is known. {_by_hand(target)}")
        return RecordFile(url=entry["links"]["self"], size=int(entry["size"]), md5=digest)
    except httpx.HTTPError as error:
        raise FetchError(f"{record_url} could not be read: {error or type(error).__name__}. {_by_hand(target)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FetchError(
            f"{record_url} is not a record with files, sizes and checksums ({error!r}). {_by_hand(target)}"
        ) from error


def _download(
    client: httpx.Client, record: RecordFile, part: Path, target: Path, on_progress: Progress | None, retry_wait_s: float
) -> Path:
    say = on_progress or (lambda done, total: None)
    failures = 0
    while True:
        begun = _size(part)
        if begun > record.size:
            part.unlink()
            begun = 0
        say(begun, record.size)
        if begun == record.size:
            return part
        try:
            _append(client, record, part, begun, say)
        except httpx.HTTPError as error:
            failures = 0 if begun < _size(part) <= record.size else failures + 1
            if failures == ATTEMPTS or _is_refusal(error):
                raise FetchError(
                    f"{record.url}: {error or type(error).__name__} after {_size(part):,} of {record.size:,} bytes; "
                    f"what came is kept in {part} and resumed next time. {_by_hand(target)}"
                ) from error
            time.sleep(retry_wait_s * 2**failures)


def _append(client: httpx.Client, record: RecordFile, part: Path, begun: int, say: Progress) -> None:
    """Stream the archive from byte `begun` on into `part`; a server that ignores the range starts the file anew."""
    # Byte for byte as stored: a server that labels the archive as gzip-encoded must not make us decode it.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begun}-"} if begun else {})
    with client.stream("GET", record.url, headers=headers) as answer:
        answer.raise_for_status()
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if resumed:
            _check_start(answer, begun)
        done = begun if resumed else 0
        with part.open("ab" if resumed else "wb") as stream:
            # Blocks as they arrive: with a block size the client would hold back, and lose, what came before a cut.
            for block in answer.iter_raw():
                stream.write(block)
                done += len(block)
                say(done, record.size)
    if done != record.size:
        raise httpx.RemoteProtocolError(f"the server ended the file at byte {done:,}, but it has {record.size:,}")


def _check_start(answer: httpx.Response, begun: int) -> None:
    given = answer.headers.get("Content-Range", "")
    if not given.startswith(f"bytes {begun}-"):
        raise httpx.RemoteProtocolError(f"asked for the bytes from {begun} on, got Content-Range {given!r}")


def _is_refusal(error: httpx.HTTPError) -> bool:
    """Whether the server answered that it will not give the file, which no retry changes."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403, 404, 410)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _check(part: Path, record: RecordFile) -> None:
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found != record.md5:
        part.unlink()
        raise FetchError(
            f"{ARCHIVE}: md5 is {found}, but the record says {record.md5}. The download was damaged or replaced on its way; "
            "it has been deleted: run this again to fetch it anew."
        )


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack beside `folder` and move into place in one rename, so a half-unpacked dataset is never found."""
    if folder.exists():
        raise FetchError(f"{folder} exists but holds no KuaiRand-Pure logs; move it away and run this again")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with tarfile.open(archive) as bundle:
            # The data filter refuses absolute paths, links that lead outside, and devices.
            bundle.extractall(temporary, filter="data")
        inner = temporary / FOLDER if (temporary / FOLDER).is_dir() else temporary
        if _unpacked(inner) is None:
            raise FetchError(f"{archive} holds no KuaiRand-Pure logs; delete it and run this again")
        inner.replace(folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FetchError(f"{archive} could not be unpacked: {error}; delete it and run this again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder / "data" if layout_of(folder / "data") is not None else folder


def _unpacked(folder: Path) -> Path | None:
    return next((place for place in (folder / "data", folder) if layout_of(place) is not None), None)
