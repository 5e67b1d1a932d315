"""The lake: contract tables as Parquet, events partitioned by day, every write idempotent.

A write names its `part`; writing the same part again replaces it, so a repeated ingestion changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.contracts import EVENTS, TABLES, check_table, completed
from feature_repo.part_file import PartFile
from infra.storage import replace_atomically

KEYS: dict[str, list[str]] = {
    "events": ["event_id"],
    "posts": ["post_id"],
    "users": ["user_id"],
    "edges": ["user_id", "target_id", "kind"],
}


# A dataset's rows that broke the contract; rows of posts, users and edges have no column of an event. What begins with
# `source` is null where a row comes from no file of a user, and column and value also where no single one is to blame.
DEAD_LETTERS = pa.schema(
    [
        *(field.with_nullable(True) for field in EVENTS),
        pa.field("reason", pa.string()),
        pa.field("source_file", pa.string()),
        pa.field("source_row", pa.int64()),
        pa.field("source_column", pa.string()),
        pa.field("source_value", pa.string()),
        pa.field("raw", pa.string()),
    ]
)


@dataclass(frozen=True)
class Lake:
    """Contract tables under `root`; `day_offset` is the local time zone whose midnight parts the days."""

    root: Path
    day_offset: timedelta = timedelta(0)

    # ---- events -------------------------------------------------------------------------------------------------
    def write_events(self, events: pl.DataFrame, part: str) -> dict[date, int]:
        """Write `events` into their days as part `part`; returns rows per day. Days without rows lose a stale part."""
        table = pl.from_arrow(check_table("events", events))
        days = table.select((pl.col("occurred_at").dt.replace_time_zone(None) + self.day_offset).dt.date()).to_series()
        written: dict[date, int] = {}
        # A day at a time: parting the whole batch at once would hold it twice.
        for day in days.unique().sort():
            rows = table.filter(days == day)
            self._write(rows, self.events_part(day, part))
            written[day] = rows.height
        self.keep_days(part, written)
        return written

    def day_file(self, day: date, part: str) -> PartFile:
        """A writer of part `part` of `day`, for rows that come piece by piece; it checks no contract."""
        return PartFile(self.events_part(day, part), EVENTS)

    def keep_days(self, part: str, days: Collection[date]) -> None:
        """Remove the files of part `part` on all days but `days`."""
        for file in self.root.glob(f"events/day=*/{part}.parquet"):
            if date.fromisoformat(file.parent.name.removeprefix("day=")) not in days:
                file.unlink()

    def events_part(self, day: date, part: str) -> Path:
        return self.root / "events" / f"day={day.isoformat()}" / f"{part}.parquet"

    def remove_unfinished(self, part: str) -> None:
        """Remove what killed writers of `part` left half written."""
        for file in self.root.rglob(f".{part}.parquet.*.tmp"):
            file.unlink(missing_ok=True)

    def event_days(self) -> list[date]:
        """Days that hold events, in order."""
        folders = {file.parent.name for file in self.root.glob("events/day=*/*.parquet")}
        return sorted(date.fromisoformat(name.removeprefix("day=")) for name in folders)

    def scan_events(self, days: Sequence[date] | None = None) -> pl.LazyFrame:
        """Events of the given days (all when None), in no particular order, each event_id once per part."""
        chosen = self.event_days() if days is None else days
        files = [file for day in chosen for file in sorted((self.root / "events" / f"day={day.isoformat()}").glob("*.parquet"))]
        if not files:
            return pl.from_arrow(TABLES["events"].empty_table()).lazy()
        return pl.scan_parquet(files, hive_partitioning=False)

    def events(self, days: Sequence[date] | None = None) -> pl.DataFrame:
        """Events of the given days, oldest first; ties keep the order (occurred_at, position, event_id)."""
        return self.scan_events(days).sort("occurred_at", "position", "event_id").collect()

    # ---- posts, users, edges ------------------------------------------------------------------------------------
    def write(self, name: str, rows: pl.DataFrame, part: str) -> int:
        """Write a part of `posts`, `users` or `edges`; returns its rows."""
        self._write(pl.from_arrow(check_table(name, rows)), self.root / name / f"{part}.parquet")
        return rows.height

    def read(self, name: str) -> pl.DataFrame:
        """All parts of `posts`, `users` or `edges`."""
        files = sorted((self.root / name).glob("*.parquet"))
        if not files:
            return pl.from_arrow(TABLES[name].empty_table())
        return pl.concat([self.read_part(name, file) for file in files])

    @staticmethod
    def read_part(name: str, file: Path) -> pl.DataFrame:
        """One part of `posts`, `users` or `edges`, with the optional columns that were not yet known when it was written."""
        # From memory: by its path a file is opened twice, and a day's part may be replaced in between.
        return completed(name, pl.read_parquet(file.read_bytes(), hive_partitioning=False))

    # ---- rows that are kept but not served ------------------------------------------------------------------------
    def quarantine(self, name: str, rows: pl.DataFrame) -> None:
        """Keep rows that broke a rule; `rows` carries the rule's name in column `rule`. Rows kept before stay."""
        target = self.root / "quarantine" / f"{name}.parquet"
        kept = [pl.read_parquet(target)] if target.exists() else []
        self._write(pl.concat([*kept, rows], how="diagonal").unique(maintain_order=True), target)

    def discard(self, name: str, rows: pl.DataFrame, clean: pl.DataFrame) -> int:
        """Take `rows` (by the table's key) out of every part of table `name`; returns how many rows went.

        A key that stands in `clean` too is a second copy of a good row: of those one copy stays in each part.
        """
        key = KEYS[name]
        bad = rows.select(key).join(clean, on=key, how="anti").unique()
        gone = 0
        for file in sorted((self.root / name).rglob("*.parquet")):
            held = pl.read_parquet(file, hive_partitioning=False)
            kept = held.join(bad, on=key, how="anti", maintain_order="left").unique(
                subset=key, keep="first", maintain_order=True
            )
            if kept.height < held.height:
                self._write(kept, file)
                gone += held.height - kept.height
        return gone

    def dead_letters(self, rows: pl.DataFrame, part: str) -> None:
        """Keep events that broke the contract; `rows` carries `reason`."""
        self._write(rows, self.root / "dead_letters" / f"{part}.parquet")

    def dead_letter_file(self, part: str) -> PartFile:
        """A writer of a dataset's dead letters, with where each came from where that is known."""
        return PartFile(self.root / "dead_letters" / f"{part}.parquet", DEAD_LETTERS)

    # ---- fingerprints -------------------------------------------------------------------------------------------
    def fingerprint(self, days: Sequence[date] | None = None) -> str:
        """SHA-256 over the names and bytes of the event files of `days`, short form (16 hex digits)."""
        chosen = self.event_days() if days is None else days
        digest = hashlib.sha256()
        for day in sorted(chosen):
            for file in sorted((self.root / "events" / f"day={day.isoformat()}").glob("*.parquet")):
                digest.update(f"{day}/{file.name}:{_content_hash(file)}".encode())
        return digest.hexdigest()[:16]

    def table_fingerprint(self, name: str) -> str:
        """SHA-256 over the names and bytes of the files of `posts`, `users` or `edges`, short form (16 hex digits)."""
        digest = hashlib.sha256()
        for file in sorted((self.root / name).glob("*.parquet")):
            digest.update(f"{file.name}:{_content_hash(file)}".encode())
        return digest.hexdigest()[:16]

    def marker(self, name: str) -> dict | None:
        """What `mark` stored under `name`, or None."""
        file = self.root / "markers" / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def marked_at(self, name: str) -> datetime | None:
        """When `mark` was last called for `name`, or None."""
        file = self.root / "markers" / f"{name}.json"
        return datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.exists() else None

    def unmark(self, name: str) -> None:
        """Forget that a step is finished: it is about to be done again."""
        (self.root / "markers" / f"{name}.json").unlink(missing_ok=True)

    def mark(self, name: str, content: dict) -> None:
        """Remember that a step is finished, with what it found."""
        with replace_atomically(self.root / "markers" / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True, default=str))

    @staticmethod
    def _write(rows: pl.DataFrame, target: Path) -> None:
        with replace_atomically(target) as temporary:
            pq.write_table(rows.to_arrow(), temporary, compression="zstd")


def _content_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
