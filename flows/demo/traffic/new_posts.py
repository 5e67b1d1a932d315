"""The one place where simulated authors publish: new posts go into the lake, where every mixer looks for them.

The gateway takes no posts. An event may name an unknown post, but then the platform knows neither its text nor its topics, and
shows it to nobody before. So posts come as a publisher's system would bring them: a part of the lake's table `posts` for each
world day, written again by the lake's own writer as the day goes on. Mixers serve them a second or two later.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from feature_repo.datasets.world import World
from feature_repo.datasets.world.day_curve import DAY_US
from feature_repo.lake import Lake

PART = "world-published"  # beside the dataset's own part `world`


class NewPosts:
    """Publishes the posts of `world` that were created from `log_end_us` on, never before the moment of their creation."""

    def __init__(self, world: World, lake: Lake, log_end_us: int) -> None:
        self.world, self.lake, self.log_end_us = world, lake, log_end_us
        self._day: int | None = None  # that was written last

    def publish(self, until_us: int) -> int:
        """Write the days from the one written last (at first: of `until_us`) to that moment; returns how many posts are new."""
        today = (until_us - 1 - self.world.start_us) // DAY_US
        first = today if self._day is None else self._day
        new = sum(self._write(day, until_us) for day in range(first, today + 1))
        self._day = today
        return new

    def first_free_day(self) -> int:
        """Number of the first day of which nobody has published here yet, that of the log's end at least."""
        names = (file.stem.removeprefix(f"{PART}-") for file in (self.lake.root / "posts").glob(f"{PART}-*.parquet"))
        days = [(date.fromisoformat(name) - self.world.config.start).days + 1 for name in names]
        return max([(self.log_end_us - self.world.start_us) // DAY_US, *days])

    def _write(self, day: int, until_us: int) -> int:
        start_us = self.world.start_us + day * DAY_US
        posts = self.world.posts_between(max(start_us, self.log_end_us), min(start_us + DAY_US, until_us))
        part = f"{PART}-{self.world.config.start + timedelta(days=day)}"
        file = self.lake.root / "posts" / f"{part}.parquet"
        held = pl.read_parquet(file, columns=["post_id"]).height if file.exists() else 0
        if posts.height <= held:
            return 0  # a file that is written again is read again by every mixer
        self.lake.write("posts", posts, part)
        return posts.height - held
