"""A small platform for the stream bench: a real broker, a lake with the simulated posts, applied definitions, seeded state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

import numpy as np
import polars as pl

from feature_repo.datasets.world.event_bulk import BulkWorld, topic_of
from feature_repo.lake import Lake
from infra.processes import broker
from infra.settings import Settings
from infra.supervisor import Supervisor, free_port

FIRST_PORT = 28_600


@contextmanager
def stream_rig(folder: Path, world: BulkWorld, online_store: str = "sqlite") -> Iterator[Settings]:
    """Settings of a platform under `folder` whose broker runs while the block does; the folder is removed in the end."""
    host = "127.0.0.1"
    settings = Settings(
        home=folder / "home", host=host, broker_port=free_port(host, FIRST_PORT), broker_address=None, online_store=online_store
    )
    supervisor, process = Supervisor(settings), broker(settings)
    try:
        _seed(settings, world)
        supervisor.start(process)
        supervisor.wait_ready(process)
        yield settings
    finally:
        supervisor.stop_all()
        rmtree(settings.paths.home, ignore_errors=True)


def _seed(settings: Settings, world: BulkWorld) -> None:
    from feature_repo.aggregates.stream_seed import seed_stream_state
    from feature_repo.feature_store import apply

    lake = Lake(settings.paths.lake)
    lake.write("posts", _posts(world), "bulk")
    lake.write("users", _users(world), "bulk")
    lake.mark("dataset", {"name": "bulk", "day_offset_s": 0})
    apply(settings)
    seed_stream_state(settings, datetime.fromtimestamp(world.start_us / 1e6, UTC))


def _posts(world: BulkWorld) -> pl.DataFrame:
    post_id = np.arange(world.posts)
    topic = topic_of(post_id)
    created_at = pl.Series(np.full(world.posts, world.start_us)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "post_id": post_id,
            "author_id": post_id % world.authors,
            "created_at": created_at,
            "topics": pl.Series([[] if one < 0 else [one] for one in topic.tolist()], dtype=pl.List(pl.Int32)),
            "media": ["video"] * world.posts,
        }
    ).with_columns(
        duration_ms=pl.lit(30_000, pl.Int64),
        language=pl.lit(None, pl.String),
        text=pl.lit(None, pl.String),
        in_reply_to=pl.lit(None, pl.Int64),
    )


def _users(world: BulkWorld) -> pl.DataFrame:
    return pl.DataFrame({"user_id": np.arange(world.users)}).with_columns(
        created_at=pl.lit(None, pl.Datetime("us", "UTC")),
        language=pl.lit(None, pl.String),
        followers=pl.lit(0, pl.Int64),
        following=pl.lit(0, pl.Int64),
        attributes=pl.lit([-1, -1, -1], pl.List(pl.Int32)),
    )
