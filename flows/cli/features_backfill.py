"""`mixer features backfill`: a family from the lake's history, with its progress shown."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from feature_repo.aggregates.batch_engine import EngineLimits
from feature_repo.aggregates.families import FAMILY_OF
from feature_repo.backfill import Backfill, backfill
from flows.steps.lakes import open_lakes
from infra.settings import get_settings


def backfill_with_progress(family: str, as_of: str | None, memory_gb: float, console: Console) -> Backfill:
    """Backfill `family` from the lake's events before `as_of` (ISO, UTC where it names no zone; None: from all)."""
    settings = get_settings()
    lake, _ = open_lakes(settings)
    limits = EngineLimits(settings.paths.features / "scratch", memory_gb, settings.threads)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars: dict[str, int] = {}

        def tell(step: str, done: int, of: int) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step)
            progress.update(bars[step], completed=done, total=of)

        moment = None if as_of is None else moment_of(as_of)
        return backfill(lake, FAMILY_OF[family], settings.paths.features, limits, moment, tell=tell)


def moment_of(text: str) -> datetime:
    """The moment that an ISO text names, in UTC where it names no zone. Raises ValueError saying what was expected."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no moment; give it as 2022-05-01T12:00 or 2022-05-01T12:00+08:00") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
