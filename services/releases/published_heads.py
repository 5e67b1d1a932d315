"""The ledger's newest hash, kept outside of its database too: whoever cuts the ledger's tail off, or forges all of it, is seen.

A person who keeps one published head somewhere else can check by it for ever: each is a version of the artifact `ledger-head`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from services.releases.chain import LedgerEntry

FILE_NAME = "heads.jsonl"


class PublishedHeads:
    """Heads in a file that is only ever added to."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME
        self._newest: tuple[int, str] | None = None  # that this object published

    def publish(self, entry: LedgerEntry) -> bool:
        """Add the entry's head unless it is the newest one already; returns whether it was added. On disk when it returns."""
        newest = self.all()[-1:]
        if newest and newest[0] == (entry.seq, entry.hash):
            self._newest = newest[0]
            return False
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+", encoding="utf-8") as stream:
            self._drop_part_of_a_line()
            stream.write(json.dumps({"seq": entry.seq, "hash": entry.hash, "at": entry.at}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._newest = (entry.seq, entry.hash)
        return True

    def newest(self) -> tuple[int, str] | None:
        """What this object published last; None before it did."""
        return self._newest

    def _drop_part_of_a_line(self) -> None:
        whole = self._file.read_bytes()
        if whole and not whole.endswith(b"\n"):
            os.truncate(self._file, whole.rfind(b"\n") + 1)

    def all(self) -> list[tuple[int, str]]:
        """(seq, hash) of every published head. A last line that a crash cut off is left out: it was never published whole."""
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        heads = []
        for place, line in enumerate(lines):
            try:
                content = json.loads(line)
                heads.append((int(content["seq"]), str(content["hash"])))
            except (ValueError, TypeError, KeyError):
                if place < len(lines) - 1:
                    raise ValueError(f"{self._file}:{place + 1} is no published head; the file was changed by hand") from None
        return heads


def missing_heads(heads: Sequence[tuple[int, str]], entries: Sequence[LedgerEntry]) -> list[str]:
    """What the ledger's entries lack of what was published before they were read: nothing where the ledger is whole."""
    hashes = {entry.seq: entry.hash for entry in entries}
    missing = [(seq, head) for seq, head in heads if hashes.get(seq) != head]
    if not missing:
        return []
    seq, head = missing[0]
    what = "is gone: the ledger's tail was cut off" if seq not in hashes else "has another hash: the ledger was rewritten"
    return [f"entry {seq}, published as {head[:12]}, {what}; where you replaced the database on purpose, move {FILE_NAME} away"]
