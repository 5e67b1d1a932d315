"""The simulated world: its people, posts and graph, its logged past, and how it answers to what it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import polars as pl

from feature_repo.contracts import EVENTS, Action
from feature_repo.datasets.world import contract_tables, logging_policy, responses, visits
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.day_curve import DAY_US, HOUR_US
from feature_repo.datasets.world.draws import Stream, uniforms
from feature_repo.datasets.world.follow_graph import FollowGraph, avoidances, follow_graph
from feature_repo.datasets.world.people import People, people
from feature_repo.datasets.world.posts import Posts, posts, posts_between, start_us, texts

_SECONDS_A_SLOT = 9  # between two posts of a visit
_SECOND_US = 1_000_000


class World:
    """Everything here is a function of the configuration, and of the later follows that `follow_authors` was told.

    Nothing is drawn twice and nothing is stored but caches.

    Closed loop: ask `visits_of` who comes on a day, serve them, ask `respond` what they do, and pass that to
    `satisfaction_after` for the next day's visits.
    """

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.start_us = start_us(config)

    @cached_property
    def people(self) -> People:
        """Everyone, in the order of their ids."""
        return people(self.config.seed, np.arange(self.config.users))

    @cached_property
    def all_posts(self) -> Posts:
        """Every post in the order of ids and of time; `respond` does without, so a huge world need not hold them."""
        return posts(self.config, np.arange(self.config.posts))

    @cached_property
    def graph(self) -> FollowGraph:
        """Who follows whom, among all accounts."""
        return follow_graph(self.config, self.people)

    # ---- contract tables ----------------------------------------------------------------------------------------
    def users(self) -> pl.DataFrame:
        """Accounts in the USERS contract."""
        return contract_tables.users_table(self.people, self.graph, self.start_us)

    def posts(self) -> pl.DataFrame:
        """Posts in the POSTS contract, those of the days to come included."""
        return self._table_of(self.all_posts)

    def posts_between(self, from_us: int, to_us: int) -> pl.DataFrame:
        """Posts (POSTS) created from `from_us` up to `to_us`, UTC microseconds; draws no others but those of the same days."""
        return self._table_of(posts_between(self.config, from_us, to_us))

    def edges(self) -> pl.DataFrame:
        """Declared follows, mutes and blocks in the EDGES contract."""
        return contract_tables.edges_table(self.graph, avoidances(self.config, self.people), self.start_us)

    def history_events(self) -> pl.DataFrame:
        """The logged policy's exposures of all days and their outcomes (EVENTS), with true propensities, in order of time.

        Satisfaction carries over from day to day, so the later days hold what the logged feed made of its people.
        """
        days = [contract_tables.events_table(exposures, happened) for exposures, happened, _ in self._logged_days()]
        return pl.concat(days) if days else pl.from_arrow(EVENTS.empty_table())

    def satisfaction_after_log(self) -> np.ndarray:
        """Everyone's satisfaction, float64 (users,), after all logged days: what the days to come begin with."""
        after = self.first_satisfaction()
        for _, _, satisfaction in self._logged_days():
            after = satisfaction
        return after

    # ---- closed loop --------------------------------------------------------------------------------------------
    def first_satisfaction(self) -> np.ndarray:
        """Everyone's satisfaction before the first day, float64 (users,)."""
        return np.full(self.config.users, visits.NEUTRAL)

    def visits_of(self, day: int, satisfaction: np.ndarray) -> visits.Visits:
        """Visits of day number `day`, given everyone's satisfaction, float64 (users,)."""
        return visits.visits(self.config, self.people, day, satisfaction)

    def satisfaction_after(
        self, satisfaction: np.ndarray, user_ids: np.ndarray, happened: dict[Action, np.ndarray]
    ) -> np.ndarray:
        """Satisfaction, float64 (users,), after the exposures of `user_ids` (n,) that were answered as `happened`."""
        return visits.satisfaction_after(satisfaction, user_ids, happened)

    def follow_authors(self, user_ids: np.ndarray, post_ids: np.ndarray) -> None:
        """From now on each of `user_ids` (n,) follows the author of the post of the same row, and responds accordingly."""
        self.graph = self.graph.with_follows(user_ids, posts(self.config, post_ids).author_id)

    def respond(
        self, user_ids: np.ndarray, post_ids: np.ndarray, at: np.ndarray | int, slots: np.ndarray | int
    ) -> dict[Action, np.ndarray]:
        """What n people do with n posts shown at `at` (UTC microseconds) in `slots` (0 = top).

        Bool (n,) per action, and `dwell` in milliseconds, float64 (n,). Keys are `Action`s, so plain strings look them up.
        """
        return responses.respond(self.config.seed, self._encounter(user_ids, post_ids, at, slots))

    def probabilities(
        self, user_ids: np.ndarray, post_ids: np.ndarray, at: np.ndarray | int, slots: np.ndarray | int
    ) -> dict[Action, np.ndarray]:
        """The true probability of each action, float64 (n,); arguments as for `respond`."""
        return responses.probabilities(self._encounter(user_ids, post_ids, at, slots))

    def _encounter(
        self, user_ids: np.ndarray, post_ids: np.ndarray, at: np.ndarray | int, slots: np.ndarray | int
    ) -> responses.Encounter:
        user, post = np.asarray(user_ids, np.int64), np.asarray(post_ids, np.int64)
        self._refuse_strangers(user, post)
        shown = posts(self.config, post)
        at_us = np.broadcast_to(np.asarray(at, np.int64), user.shape)
        return responses.Encounter(
            user_id=user,
            interests=self.people.interests[user],
            posts=shown,
            follows=self.graph.follows(user, shown.author_id),
            at_us=at_us,
            slot=np.broadcast_to(np.asarray(slots, np.int64), user.shape),
            taste=self._taste(shown, at_us),
        )

    def _table_of(self, chosen: Posts) -> pl.DataFrame:
        language = self.people.language[chosen.author_id]
        return contract_tables.posts_table(chosen, texts(self.config, chosen), language)

    def _refuse_strangers(self, user: np.ndarray, post: np.ndarray) -> None:
        for name, ids, size in (("user", user, self.config.users), ("post", post, self.config.posts)):
            if ids.size and (ids.min() < 0 or ids.max() >= size):
                raise ValueError(f"{name} ids {ids.min()} to {ids.max()} are not all in this world; it has 0 to {size - 1}")

    def _taste(self, shown: Posts, at_us: np.ndarray) -> np.ndarray:
        moved = np.zeros(len(shown))
        for shift in self.config.taste_shifts:
            moved += shift.size * ((shown.topic == shift.topic) & (at_us >= self.start_us + shift.day * DAY_US))
        return moved

    # ---- the logged past ----------------------------------------------------------------------------------------
    def _logged_days(self) -> Iterator[tuple[pl.DataFrame, dict[Action, np.ndarray], np.ndarray]]:
        """Of each logged day with visits: the exposures, what happened at each, and everyone's satisfaction after it."""
        satisfaction = self.first_satisfaction()
        for day in range(self.config.days):
            exposures = self._logged_exposures(self.visits_of(day, satisfaction))
            if not len(exposures):
                continue
            happened = self.respond(*(exposures[name].to_numpy() for name in ("user_id", "post_id", "at_us", "position")))
            satisfaction = self.satisfaction_after(satisfaction, exposures["user_id"].to_numpy(), happened)
            yield exposures, happened, satisfaction

    def _logged_exposures(self, arrivals: visits.Visits) -> pl.DataFrame:
        """One row per exposure of the logged policy; a slot that repeats a post of its visit stays empty."""
        visit = np.repeat(np.arange(len(arrivals)), arrivals.length)
        slot = np.arange(len(visit)) - np.repeat(np.cumsum(arrivals.length) - arrivals.length, arrivals.length)
        user, arrived = arrivals.user_id[visit], arrivals.at_us[visit]
        # The visit's second tells visits of one person apart, here and in the request id.
        draws = uniforms(self.config.seed, Stream.LOGGED_CHOICE, user, (arrived - self.start_us) // _SECOND_US, slot)
        post = np.empty(len(visit), np.int64)
        propensity = np.empty(len(visit))
        period = arrived // (logging_policy.REFRESH_HOURS * HOUR_US)
        for current in np.unique(period):
            rows = np.flatnonzero(period == current)
            pool = self._pool(int(current) * logging_policy.REFRESH_HOURS * HOUR_US)
            interests = self.people.interests[user[rows]]
            chosen = logging_policy.choose(pool, self.graph, user[rows], interests, draws[rows])
            post[rows] = pool.posts.post_id[chosen.row]
            propensity[rows] = chosen.propensity
        at_us = arrived + slot * _SECONDS_A_SLOT * _SECOND_US
        return (
            pl.DataFrame(
                {
                    "request_id": pl.select(
                        pl.format("w-{}-{}", pl.Series(user), pl.Series(arrived // 1_000)),
                    ).to_series(),
                    "user_id": user,
                    "post_id": post,
                    "author_id": self.all_posts.author_id[post],
                    "position": slot.astype(np.int32),
                    "release": np.full(len(visit), logging_policy.RELEASE),
                    "propensity": propensity,
                    "at_us": at_us,
                }
            )
            .with_columns(occurred_at=pl.col("at_us").cast(pl.Datetime("us", "UTC")))
            .unique(["request_id", "post_id"], keep="first", maintain_order=True)
        )

    def _pool(self, at_us: int) -> logging_policy.Pool:
        recent = logging_policy.recent_rows(self.all_posts, at_us)
        return logging_policy.pool_of(posts(self.config, recent), self.graph)
