"""Before a new run: back to the morning of the first live day. Ingested tables and the model registry stay."""

from __future__ import annotations

import shutil

from feature_repo.lake import Lake
from flows.demo.run_folder import RunFolder
from infra.settings import Settings


def reset_live_state(settings: Settings, folder: RunFolder) -> None:
    """Forget what an earlier run lived through: streamed events, online features, broker log, routes.

    The earlier run's ledger is kept as `platform-before.db` in the new run's folder.
    """
    paths = settings.paths
    lake = Lake(paths.lake)
    for part in lake.root.glob("events/day=*/stream-*.parquet"):
        part.unlink()
    for place in (paths.stream, paths.broker, paths.features, paths.snapshots, paths.runs / "replays"):
        shutil.rmtree(place, ignore_errors=True)
    for file in sorted(paths.home.glob("platform.db*")):
        shutil.move(file, folder.folder / file.name.replace("platform.db", "platform-before.db"))
