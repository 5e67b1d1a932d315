"""The simulated world: its logged propensities and response probabilities are true, and what is served has consequences."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import Action, check_table, split_events
from feature_repo.datasets.world import TasteShift, World, WorldConfig
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.datasets.world.day_curve import DAY_US, HOUR_US
from feature_repo.datasets.world.logging_policy import POOL_HOURS, choose, pool_of, propensities, recent_rows
from feature_repo.datasets.world.posts import posts

SMALL = WorldConfig(users=200, posts=400, days=6)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SMALL)


@pytest.fixture(scope="module")
def history(world: World) -> pl.DataFrame:
    return world.history_events()


def encounters(world: World, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """n random people, posts, moments and slots."""
    rng = np.random.default_rng(seed)
    at = world.start_us + rng.integers(0, SMALL.days * DAY_US, n)
    return rng.integers(0, SMALL.users, n), rng.integers(0, SMALL.posts, n), at, rng.integers(0, 20, n)


def test_all_tables_hold_to_their_contracts(world: World, history: pl.DataFrame) -> None:
    for name, table in (("users", world.users()), ("posts", world.posts()), ("edges", world.edges()), ("events", history)):
        assert check_table(name, table).num_rows > 0, name
    assert split_events(history).dead.is_empty()
    assert history["event_id"].is_unique().all()


def test_the_same_seed_gives_the_same_world_and_another_seed_another(history: pl.DataFrame) -> None:
    assert World(SMALL).history_events().equals(history)
    assert not World(WorldConfig(seed=8, users=200, posts=400, days=6)).history_events().equals(history)


def test_references_between_the_tables_hold(world: World, history: pl.DataFrame) -> None:
    table = world.posts()
    joined = history.join(table, on="post_id", how="left", suffix="_of_post")
    assert (joined["author_id"] == joined["author_id_of_post"]).all()
    assert (joined["created_at"] < joined["occurred_at"]).all()
    answered = table.filter(pl.col("in_reply_to").is_not_null())
    assert answered.height > 0 and (answered["in_reply_to"] < answered["post_id"]).all()
    assert table["created_at"].is_sorted()


def test_the_follow_graph_has_no_loops_no_doubles_and_a_heavy_tail(world: World) -> None:
    follows = world.edges().filter(pl.col("kind") == "follow")
    assert (follows["user_id"] != follows["target_id"]).all()
    assert follows.select("user_id", "target_id").is_unique().all()
    followers = np.sort(world.users()["followers"].to_numpy())[::-1]
    assert followers[:20].sum() > 0.4 * followers.sum()  # a tenth of the accounts
    assert followers.sum() == follows.height


def test_people_follow_their_own_community_more_than_chance(world: World) -> None:
    community = world.people.community
    same = (community[world.graph.source] == community[world.graph.target]).mean()
    shares = np.bincount(community) / len(community)
    assert same > 2 * (shares**2).sum()


def test_the_logged_policys_propensities_sum_to_one_over_its_pool(world: World) -> None:
    pool = pool_of(posts(SMALL, recent_rows(world.all_posts, world.start_us + 2 * DAY_US)), world.graph)
    size = len(pool.posts)
    for user in range(0, SMALL.users, 10):
        who = np.full(size, user)
        chances = propensities(pool, world.graph, who, world.people.interests[who], np.arange(size))
        assert chances.sum() == pytest.approx(1.0)
        assert (chances > 0).all()


def test_the_logged_policy_chooses_as_often_as_its_propensities_say(world: World) -> None:
    pool = pool_of(posts(SMALL, recent_rows(world.all_posts, world.start_us + DAY_US)), world.graph)
    draws = np.random.default_rng(3).random((40_000, 4))
    for user in (0, 57, 123):
        who = np.full(len(draws), user)
        chosen = choose(pool, world.graph, who, world.people.interests[who], draws)
        every = np.arange(len(pool.posts))
        crowd = np.full(len(every), user)
        truth = propensities(pool, world.graph, crowd, world.people.interests[crowd], every)
        count = np.bincount(chosen.row, minlength=len(every))
        spread = np.sqrt(truth * (1 - truth) * len(draws))
        assert np.abs(count - truth * len(draws)).max() < 5 * spread.max()
        assert (((count - truth * len(draws)) / spread) ** 2).mean() < 1.5
        assert np.array_equal(chosen.propensity, truth[chosen.row])


def test_logged_posts_are_recent(world: World, history: pl.DataFrame) -> None:
    shown = history.join(world.posts(), on="post_id")
    age_h = (shown["occurred_at"] - shown["created_at"]).dt.total_seconds() / 3_600
    assert age_h.max() <= POOL_HOURS + 7  # the pool is drawn up every six hours, and a visit takes a while


def test_a_person_sees_a_post_once_a_visit(history: pl.DataFrame) -> None:
    seen = history.filter(pl.col("action") == "impression")
    assert seen.select("request_id", "post_id").is_unique().all()


def test_an_answer_depends_on_person_post_and_slot_and_not_on_who_else_is_asked(world: World) -> None:
    user, post, at, slot = encounters(world, 300)
    together = world.respond(user, post, at, slot)
    order = np.random.default_rng(1).permutation(300)[:40]
    alone = world.respond(user[order], post[order], at[order], slot[order])
    for action, happened in alone.items():
        assert np.array_equal(happened, together[action][order]), action


def test_answers_come_as_often_as_their_true_probabilities_say(world: World) -> None:
    where = encounters(world, 60_000)
    happened, truth = world.respond(*where), world.probabilities(*where)
    assert set(truth) == set(happened) - {Action.DWELL}
    for action, chance in truth.items():
        spread = np.sqrt((chance * (1 - chance)).sum())
        assert abs(happened[action].sum() - chance.sum()) < 4 * spread, action


def test_what_needs_a_click_has_one_and_disinterest_has_none(world: World) -> None:
    user, post, at, slot = encounters(world, 20_000)
    happened = world.respond(user, post, at, slot)
    click = happened[Action.CLICK]
    for action in (Action.LIKE, Action.REPLY, Action.REPOST, Action.SHARE, Action.FOLLOW, Action.VIDEO_VIEW):
        assert happened[action].any() and not (happened[action] & ~click).any(), action
    assert not (happened[Action.NOT_INTERESTED] & click).any()
    assert not (happened[Action.VIDEO_VIEW] & (world.all_posts.duration_ms[post] == 0)).any()
    follows = world.graph.follows(user, world.all_posts.author_id[post])
    assert follows.any() and not (happened[Action.FOLLOW] & follows).any()
    assert (happened[Action.DWELL] >= 0).all()


def test_clicks_rise_with_affinity_and_quality_and_fall_with_slot_and_age(world: World) -> None:
    user, post, at, slot = encounters(world, 5_000)
    chance = world.probabilities(user, post, at, slot)[Action.CLICK]
    assert (world.probabilities(user, post, at, slot + 5)[Action.CLICK] < chance).all()
    older = world.probabilities(user, post, np.maximum(at, world.all_posts.created_us[post]) + 48 * HOUR_US, slot)[Action.CLICK]
    assert (older < chance).all()
    affinity = world.people.interests[user, world.all_posts.topic[post]]
    assert np.corrcoef(affinity, chance)[0, 1] > 0.3
    assert np.corrcoef(world.all_posts.quality[post], chance)[0, 1] > 0.3


@pytest.mark.slow
def test_inverse_propensity_weighting_of_the_log_finds_the_true_value_of_another_policy(
    world: World, history: pl.DataFrame
) -> None:
    seen = history.filter(pl.col("action") == "impression").join(
        history.filter(pl.col("action") == "click").select("request_id", "post_id", clicked=pl.lit(1.0)),
        on=["request_id", "post_id"],
        how="left",
    )
    user, post, slot = (seen[name].to_numpy() for name in ("user_id", "post_id", "position"))
    at = seen["occurred_at"].dt.epoch("us").to_numpy()
    period = 6 * HOUR_US
    drawn_up, place = np.unique(at // period * period, return_inverse=True)
    pool_size = np.array([len(recent_rows(world.all_posts, moment)) for moment in drawn_up])[place]
    weight = 1 / pool_size / seen["propensity"].to_numpy()
    clicked = seen["clicked"].fill_null(0.0).to_numpy()
    estimate = (weight * clicked).sum() / weight.sum()
    # The truth for a uniform choice: every post of the pool, for a sample of the same people, moments and slots.
    sample = np.random.default_rng(0).choice(len(user), 300, replace=False)
    truth = []
    for row in sample:
        recent = recent_rows(world.all_posts, at[row] // period * period)
        same = np.full(len(recent), user[row])
        truth.append(world.probabilities(same, recent, at[row], slot[row])[Action.CLICK].mean())
    logged_rate = clicked.mean()
    error = np.sqrt(np.var(truth) / len(truth) + (weight**2 * (clicked - estimate) ** 2).sum() / weight.sum() ** 2)
    assert abs(estimate - np.mean(truth)) < 4 * error
    assert logged_rate - np.mean(truth) > 4 * error  # without the weights the log would mislead


def test_a_post_of_a_huge_world_costs_nothing_until_it_is_asked_for() -> None:
    huge = World(WorldConfig(users=200, posts=100_000_000, days=6))
    last = np.array([99_999_999, 0, 50_000_000])
    chances = huge.probabilities(np.array([1, 2, 3]), last, huge.start_us + 6 * DAY_US, 0)
    assert ((chances[Action.CLICK] > 0) & (chances[Action.CLICK] < 1)).all()
    assert "all_posts" not in vars(huge)


def test_a_good_feed_brings_people_back_and_a_bad_one_does_not(world: World) -> None:
    def served(best: bool) -> tuple[float, int]:
        satisfaction = world.first_satisfaction()
        clicks, comers = 0.0, 0
        for day in range(4):
            arrivals = world.visits_of(day, satisfaction)
            comers = int(arrivals.length.sum())
            user = np.repeat(arrivals.user_id, 5)
            recent = recent_rows(world.all_posts, world.start_us + day * DAY_US)
            at = world.start_us + day * DAY_US
            crowd = np.repeat(np.arange(SMALL.users), len(recent))
            chance = world.probabilities(crowd, np.tile(recent, SMALL.users), at, 0)[Action.CLICK].reshape(SMALL.users, -1)
            ranked = recent[np.argsort(-chance if best else chance, axis=1)[:, :5]]
            happened = world.respond(user, ranked[arrivals.user_id].ravel(), at, np.tile(np.arange(5), len(arrivals)))
            satisfaction = world.satisfaction_after(satisfaction, user, happened)
            clicks = happened[Action.CLICK].mean()
        return clicks, comers

    (good_clicks, good_posts_seen), (bad_clicks, bad_posts_seen) = served(True), served(False)
    assert good_clicks > bad_clicks + 0.2
    assert good_posts_seen > 1.05 * bad_posts_seen


def test_a_taste_shift_moves_its_topic_from_its_day_on_and_nothing_else(world: World) -> None:
    topic = int(world.all_posts.topic[0])
    shifted = World(WorldConfig(users=200, posts=400, days=6, taste_shifts=(TasteShift(day=3, topic=topic, size=1.5),)))
    user, post, at, slot = encounters(world, 4_000)
    before, after = (place.probabilities(user, post, at, slot)[Action.CLICK] for place in (world, shifted))
    hit = (world.all_posts.topic[post] == topic) & (at >= world.start_us + 3 * DAY_US)
    assert hit.any()
    assert (after[hit] > before[hit]).all()
    assert np.array_equal(after[~hit], before[~hit])


@pytest.mark.parametrize(("user", "post"), [(200, 0), (0, 400), (-1, 0)])
def test_strangers_to_the_world_are_refused(world: World, user: int, post: int) -> None:
    with pytest.raises(ValueError, match="not all in this world"):
        world.respond(np.array([user]), np.array([post]), world.start_us, 0)


def test_the_adapter_splits_the_last_four_days_and_is_labelled_simulated() -> None:
    adapter = WorldAdapter(config=SMALL)
    assert adapter.simulated and "simulated" in adapter.label
    splits = adapter.splits
    moments = [splits.train_end, *splits.replay, *splits.canary]
    assert [(moment.date() - SMALL.start).days for moment in moments] == [2, 2, 4, 4, 6]
    assert adapter.fingerprint() == WorldAdapter(config=SMALL).fingerprint() != WorldAdapter(seed=8).fingerprint()
    with pytest.raises(ValueError, match="days is 4"):
        WorldAdapter(config=WorldConfig(users=20, posts=20, days=4))


@pytest.mark.parametrize("field", ["users", "posts", "days"])
def test_a_world_of_impossible_size_is_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"WorldConfig.{field} is 0"):
        WorldConfig(**{field: 0})
