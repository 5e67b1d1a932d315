"""The dataset's download with a progress bar: bytes, speed and time left."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from feature_repo.datasets.fetch import RECORD_URL, fetch_kuairand


def download_with_progress(target: Path, record_url: str | None, console: Console) -> Path:
    """Fetch KuaiRand-Pure into `target` and show how it goes; raises FetchError with what to do without a network."""
    columns = (TextColumn("KuaiRand-Pure"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("download", total=None)
        return fetch_kuairand(
            target, record_url or RECORD_URL, on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
