"""A hash of what dataset files hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def files_fingerprint(files: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of the files, in their order; 16 hex digits."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{file.name}:{content}".encode())
    return digest.hexdigest()[:16]
