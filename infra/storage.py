"""Where run-time state lies: every path under the home folder has a name here."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.full_disk import told_when_full


@dataclass(frozen=True)
class Paths:
    """Named locations under `home`; a property never creates anything."""

    home: Path

    @property
    def lake(self) -> Path:
        """Contract tables that the platform has lived through."""
        return self.home / "lake"

    @property
    def holdout(self) -> Path:
        """Logged days that were ingested but not lived through yet; evaluation and replay read them."""
        return self.home / "holdout"

    @property
    def features(self) -> Path:
        """Feast: registry, offline feature tables, online store."""
        return self.home / "features"

    @property
    def training_rows(self) -> Path:
        """Training rows as column files, one folder per fingerprint of what they are made of."""
        return self.home / "training_rows"

    @property
    def snapshots(self) -> Path:
        """Versioned columnar candidate snapshots and the pointer to the current one."""
        return self.home / "snapshots"

    @property
    def stream(self) -> Path:
        """State and offsets of the stream worker."""
        return self.home / "stream"

    @property
    def served_vectors(self) -> Path:
        """A sample of the feature vectors that requests were served with; the consistency flow computes them again."""
        return self.home / "served_vectors"

    @property
    def broker(self) -> Path:
        return self.home / "broker"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def bentoml(self) -> Path:
        return self.home / "bentoml"

    @property
    def prefect(self) -> Path:
        return self.home / "prefect"

    @property
    def platform_database(self) -> Path:
        return self.home / "platform.db"

    @property
    def outcomes_database(self) -> Path:
        """What was served, joined with what people did next."""
        return self.home / "outcomes.db"

    @property
    def reports(self) -> Path:
        """Pages that people read: Data Docs, drift reports."""
        return self.home / "reports"

    @property
    def bundles(self) -> Path:
        """Model bundles, one folder per trained version."""
        return self.home / "bundles"

    @property
    def environments(self) -> Path:
        """Virtual environments of peers whose packages do not agree with the lock file."""
        return self.home / "environments"

    @property
    def releases(self) -> Path:
        """Manifests of started releases, and the published heads of the ledger."""
        return self.home / "releases"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def pids(self) -> Path:
        return self.home / "pids"

    @property
    def admin_token_file(self) -> Path:
        return self.home / "secrets" / "admin.token"

    def admin_token(self) -> str:
        """Bearer token for approvals and route changes; made on first use, readable by the owner only."""
        file = self.admin_token_file
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return file.read_text().strip()
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(32))
        return file.read_text().strip()


@contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `target`; on success it takes the target's place in one rename.

    Raises DiskFull, which names `target`, where there is no room for it.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    with told_when_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
