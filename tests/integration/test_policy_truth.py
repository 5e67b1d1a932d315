"""Off-policy estimates against the truth: a simulated world knows what it logged by, and what any other choice would earn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import Action
from feature_repo.datasets.ingest import ingest
from feature_repo.datasets.world import World, WorldConfig, logging_policy
from feature_repo.datasets.world.adapter import WorldAdapter
from feature_repo.datasets.world.day_curve import HOUR_US
from feature_repo.datasets.world.posts import posts as posts_of
from feature_repo.event_log import read_table
from feature_repo.heads import HEADS, judged_heads
from feature_repo.lake import Lake
from feature_repo.training_rows import point_in_time_rows
from flows.evaluation.choices import Scored, choice, choose, scored_decisions
from flows.evaluation.decisions import Decisions, read_decisions
from flows.evaluation.off_policy import Logged, policy_value
from flows.evaluation.policy import values_of
from flows.evaluation.pool import Pool
from flows.training.fit_light import fit_logistic
from infra.settings import Settings
from services.ranking.calibration import sigmoid
from services.ranking.normalise import Normaliser

pytestmark = pytest.mark.slow

CONFIG = WorldConfig(seed=11, users=300, posts=1_500, days=8)
DECISIONS = 800
TEMPERATURE = 0.1
CLICK = HEADS.index("click")
COMMON = 8  # heads whose rates the click model reads
REFRESH_US = logging_policy.REFRESH_HOURS * HOUR_US


@dataclass(frozen=True)
class Judged:
    """Decisions with the model's scores; by decision, over the open posts: chance to be clicked, and to be logged."""

    decisions: Decisions
    pool: Pool
    predict: object
    scored: list[Scored]
    clicked: list[np.ndarray]
    logged: list[np.ndarray]

    @property
    def policy(self) -> list[np.ndarray]:
        return [choice(self.model(one), TEMPERATURE) for one in self.scored]

    @staticmethod
    def model(one: Scored) -> np.ndarray:
        return one.probabilities[:, CLICK].astype(np.float64)

    @property
    def truth(self) -> float:
        """What the judged policy earns a decision."""
        return float(np.mean([chances @ clicked for chances, clicked in zip(self.policy, self.clicked, strict=True)]))


def logger_pool(posts: pl.DataFrame) -> Pool:
    """What the world's logger could choose from: the posts of the 72 hours before the last refresh."""
    created = posts["created_at"].dt.epoch("us").to_numpy()
    oldest = created + logging_policy.POOL_HOURS * HOUR_US
    return Pool(posts, (created // REFRESH_US + 1) * REFRESH_US, (oldest // REFRESH_US + 1) * REFRESH_US)


def click_model(train):
    """Logistic regression of clicks on the training days, as probabilities of all heads.

    It reads no rates of rare actions: so few rows would fit their noise, and the estimators are judged here, not the model.
    """
    normaliser = Normaliser.fit(train.blocks)
    blocks = {name: normaliser.apply(name, block) for name, block in train.blocks.items()}
    rare = tuple(f"{head}_rate." for head in set(HEADS) - set(judged_heads(train.labels, COMMON)))
    for name, block in blocks.items():
        block[:, [column.startswith(rare) for column in train.names[name]]] = 0.0  # so that its weight is 0
    model = fit_logistic(blocks, train.product, train.labels[:, CLICK].astype(np.float32))

    def predict(rows):
        out = np.zeros((len(rows), len(HEADS)), np.float32)
        out[:, CLICK] = sigmoid(model.logits(rows, normaliser))
        return out

    return predict


def first_of_visits(decisions: Decisions, events: pl.DataFrame) -> Decisions:
    """The decisions at the top of a visit: further down a repeated post leaves its slot empty, so what is logged there was
    chosen with a little more than the propensity of its draw.
    """
    keys = ["user_id", "post_id", "at"]
    shown = events.filter((pl.col("action") == "impression") & (pl.col("position") == 0))
    first = shown.select("user_id", "post_id", at=pl.col("occurred_at").dt.epoch("us"), first=True).unique(keys)
    log, rows = decisions.known.log, decisions.exposure
    asked = pl.DataFrame(dict(zip(keys, (log.user_id[rows], log.post_id[rows], log.at_us[rows]), strict=True)))
    kept = asked.join(first, on=keys, how="left", maintain_order="left")["first"].fill_null(False).to_numpy()
    return replace(decisions, exposure=rows[kept], propensity=decisions.propensity[kept])


def world_truth(world: World, decisions: Decisions, scored: list[Scored], slot: int):
    """By decision: every open post's chance to be clicked there, and the chance that the world's logger shows it."""
    size = np.array([len(one) for one in scored])
    users = decisions.known.log.user_id[decisions.exposure]
    user, at_us = (np.repeat(column, size) for column in (users, decisions.at_us))
    posts = np.concatenate([one.post_id for one in scored])
    ends = np.cumsum(size)[:-1]
    clicked = np.split(world.probabilities(user, posts, at_us, slot)[Action.CLICK], ends)
    logged = []

    @cache
    def drawn_up(at_us: int) -> logging_policy.Pool:
        return logging_policy.pool_of(posts_of(CONFIG, logging_policy.recent_rows(world.all_posts, at_us)), world.graph)

    for one, who, when in zip(scored, users, decisions.at_us, strict=True):
        pool = drawn_up(int(when) // REFRESH_US * REFRESH_US)
        np.testing.assert_array_equal(pool.posts.post_id, one.post_id)
        every = np.full(len(one), who)
        interests = world.people.interests[every]
        logged.append(logging_policy.propensities(pool, world.graph, every, interests, np.arange(len(one))))
    return clicked, logged


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Judged:
    settings = Settings(home=tmp_path_factory.mktemp("truth"), online_store="sqlite")
    lakes = [Lake(settings.paths.lake), Lake(settings.paths.holdout)]
    ingest(WorldAdapter(config=CONFIG), *lakes)
    posts = read_table(lakes, "posts")
    events = lakes[1].scan_events(lakes[1].event_days()).collect()
    events.write_parquet(settings.home / "later.parquet")
    predict = click_model(point_in_time_rows(settings, lakes[:1], lakes[0].event_days()))
    decisions = first_of_visits(read_decisions(settings, lakes, settings.home / "later.parquet", posts), events)
    decisions = decisions.sampled(DECISIONS, seed=1)
    pool = logger_pool(posts)
    scored = list(scored_decisions(decisions, pool, predict))
    clicked, logged = world_truth(World(CONFIG), decisions, scored, 0)
    return Judged(decisions, pool, predict, scored, clicked, logged)


def test_the_log_carries_the_propensities_of_its_logger(judged):
    found = [chances[one.logged] for one, chances in zip(judged.scored, judged.logged, strict=True)]
    np.testing.assert_allclose(judged.decisions.propensity, found, rtol=1e-12)
    assert all(
        one.logged >= 0 and one.post_id[one.logged] == post
        for one, post in zip(judged.scored, judged.decisions.known.log.post_id[judged.decisions.exposure], strict=True)
    )


def test_intervals_on_one_log_hold_the_true_value(judged):
    choices = choose(judged.decisions, judged.pool, judged.predict, lambda p: p[:, CLICK].astype(float), CLICK, [TEMPERATURE])
    (found,) = values_of(judged.decisions, choices, CLICK, draws=300)
    for one in (found.ips, found.snips, found.dr):
        assert one.low <= judged.truth <= one.high
    # Narrower on average (below); on one log by no more than chance either way.
    assert found.dr.high - found.dr.low <= 1.15 * (found.ips.high - found.ips.low)
    print(f"true {judged.truth:.3f}, logged {found.logging.value:.3f}: {found.ips}, {found.snips}, {found.dr}")
    # It is another policy: what was logged is no estimate of it.
    assert not found.logging.low <= judged.truth <= found.logging.high
    assert found.warnings == () and found.effective_decisions > 100


def test_estimates_of_redrawn_logs_are_unbiased_and_their_intervals_cover(judged):
    """The same users and moments, what was shown and clicked drawn anew: the mean over logs must be the truth."""
    random = np.random.default_rng(3)
    cumulated = [np.cumsum(chances) / chances.sum() for chances in judged.logged]
    model, policy = [judged.model(one) for one in judged.scored], judged.policy
    users = judged.decisions.known.log.user_id[judged.decisions.exposure]
    expected = np.array([chances @ own for chances, own in zip(policy, model, strict=True)])
    found = []
    for number in range(80):
        draws = random.random(len(users))
        shown = [int(np.searchsorted(chances, draw)) for chances, draw in zip(cumulated, draws, strict=True)]
        propensity, chance, predicted, clicked = (
            np.array([values[post] for values, post in zip(column, shown, strict=True)])
            for column in (judged.logged, policy, model, judged.clicked)
        )
        reward = (random.random(len(users)) < clicked).astype(float)
        value = policy_value(Logged(reward, propensity, chance, predicted, expected, users), draws=100, seed=number)
        found.append([[one.value, one.low, one.high] for one in (value.ips, value.snips, value.dr)])
    value, low, high = np.moveaxis(np.array(found), 2, 0)  # (logs, estimators) each
    error = value.std(axis=0) / len(value) ** 0.5
    assert (np.abs(value.mean(axis=0) - judged.truth) < 4 * error + 0.005).all()  # SNIPS is biased by O(1 / n)
    assert (((low <= judged.truth) & (judged.truth <= high)).mean(axis=0) >= 0.85).all()
    width = (high - low).mean(axis=0)
    assert width[2] < width[0]


def test_the_pool_is_seen_as_of_each_decision_as_training_rows_see_it(judged):
    rows = judged.decisions.known.rows(judged.decisions.exposure)
    expected = judged.predict(rows)[:, CLICK]
    found = np.array([judged.model(one)[one.logged] for one in judged.scored])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(found) > 0.1


def test_a_pool_that_the_logger_did_not_choose_from_shows_in_the_mean_weight(judged):
    wider = replace(judged.pool, until_us=np.full(len(judged.pool), np.iinfo(np.int64).max))
    few = judged.decisions.sampled(300, seed=2)
    choices = choose(few, wider, judged.predict, lambda p: p[:, CLICK].astype(float), CLICK, [1.0])
    (found,) = values_of(few, choices, CLICK, draws=100)
    assert found.mean_weight < 0.9
    assert any("mean weight" in warning and "not 1" in warning for warning in found.warnings)
