"""Simulated visits of a canary's users: heavy-tailed people who come back, and what each release would give them.

Both releases' answers are drawn for every visit from the same chances, so scenarios and judges are compared on the same
streams. With `copies` above 1 every simulated person stands for a Poisson-distributed number of alike ones (a Poisson
bootstrap of the platform): as many users, their variances and their split, from a fraction of the draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from monitoring.canary.time_bins import bin_of, edges_ms

VISITS_A_DAY = 4.0
SPREAD = 1.0  # sigma of the lognormal of users' visits a day
LIKES, BUYS, BUY_WEIGHT = 0.6, 0.03, 5.0  # actions a visit; a purchase weighs more
POSTS = 10  # of a page
DISLIKES = 0.05  # a page
SHORT_SHARE = 0.01
FAILED_SHARE = 0.002
MEDIAN_MS, USER_SIGMA, VISIT_SIGMA = 80.0, 0.25, 0.45
SLOW_BIN = int(bin_of(np.array([MEDIAN_MS * np.exp(1.645 * np.hypot(USER_SIGMA, VISIT_SIGMA))]))[0])
PAIRED_SHARE = 0.1  # of pages that both releases predict
LOSS = 0.45  # nats a post
LOSS_USER_SIGMA, LOSS_PAGE_SIGMA = 0.05, 0.15  # of the relative difference of two releases that are alike
DAYS_BEFORE = 7
DAY_S = 86_400
LOOK_S = 60
BLOCKS_H = (1, 5, 18)  # visits are drawn in blocks, so that a step that ends early costs little


@dataclass(frozen=True)
class Scenario:
    """How the canary differs from the live release."""

    name: str
    engagement: float = 1.0  # factor
    log_loss: float = 0.0  # relative
    failed: float = FAILED_SHARE
    slower: float = 1.0  # factor
    good: bool = False  # whether it should be put to people
    bad: bool = False  # whether it should not


SCENARIOS = (
    Scenario("a/a", good=True),
    Scenario("engagement +2 %", engagement=1.02, good=True),
    Scenario("engagement -1 %", engagement=0.99),
    Scenario("engagement -2 %", engagement=0.98, bad=True),
    Scenario("engagement -5 %", engagement=0.95, bad=True),
    Scenario("engagement -20 %", engagement=0.8, bad=True),
    Scenario("log loss +2 %", log_loss=0.02, bad=True),
    Scenario("errors 0.2 -> 0.7 %", failed=0.007, bad=True),
    Scenario("p95 x1.3", slower=1.3, bad=True),
)


@dataclass(frozen=True)
class Visits:
    """Visits of one step in order of user and time; arrays (n,), or (2, n) for what the live release and the canary do."""

    user: np.ndarray  # int64, place of the person
    look: np.ndarray  # int64, the first look that sees it: minutes since the step began
    first: np.ndarray  # bool, the user's first of the step
    failed: np.ndarray  # bool (2, n)
    short: np.ndarray  # bool (2, n)
    engagement: np.ndarray  # float64 (2, n)
    disliked: np.ndarray  # float64 (2, n)
    bin: np.ndarray  # int64 (2, n)
    paired: np.ndarray  # bool, both releases predicted its page
    loss: np.ndarray  # float64 (2, n), nats


@dataclass
class People:
    """The platform's active users."""

    users: int
    copies: float
    shares: tuple[float, ...]
    seed: int
    rate: np.ndarray = field(init=False)  # visits a day
    taste: np.ndarray = field(init=False)
    trouble: np.ndarray = field(init=False)  # how often requests of theirs fail, 1 on average
    pace: np.ndarray = field(init=False)  # of their answers, in logarithms
    loss_shift: np.ndarray = field(init=False)
    before: np.ndarray = field(init=False)
    bands: np.ndarray = field(init=False)  # (users, len(shares) + 1): copies who enter the canary at step k; last: never

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 0])
        n = self.users
        self.rate = VISITS_A_DAY * rng.lognormal(-(SPREAD**2) / 2, SPREAD, n)
        self.taste = rng.gamma(1.5, 1 / 1.5, n)
        self.trouble = rng.gamma(0.5, 2.0, n)
        self.pace = rng.normal(0, USER_SIGMA, n)
        self.loss_shift = rng.normal(0, LOSS_USER_SIGMA, n)
        drifted = self.rate * rng.lognormal(-0.125, 0.5, n) * DAYS_BEFORE * self.taste
        self.before = rng.poisson(LIKES * drifted) + BUY_WEIGHT * rng.poisson(BUYS * drifted)
        widths = np.diff([0.0, *self.shares, 1.0])
        if self.copies == 1:
            self.bands = np.eye(len(widths), dtype=np.int64)[rng.choice(len(widths), n, p=widths)]
        else:
            self.bands = rng.poisson(self.copies * widths, (n, len(widths)))

    def arms(self, step: int) -> np.ndarray:
        """Copies of each person under each arm in a step, (2, users)."""
        return np.stack([self.bands[:, step + 1 :].sum(axis=1), self.bands[:, : step + 1].sum(axis=1)])

    def visits(self, step: int, blocks: int, scenario: Scenario) -> Visits:
        """The visits of a step's first `blocks` blocks; the same people come at the same moments in every scenario."""
        drawn, began = [], 0.0
        for block in range(blocks):
            drawn.append(self._block(step, block, began, scenario))
            began += BLOCKS_H[block] * 3_600
        columns = [np.concatenate(parts, axis=-1) for parts in zip(*drawn, strict=True)]
        order = np.lexsort((columns[1], columns[0]))
        user, at, *others = (column[..., order] for column in columns)
        return Visits(user, (at // LOOK_S).astype(np.int64), np.diff(user, prepend=-1) != 0, *others)

    def _block(self, step: int, block: int, began: float, scenario: Scenario) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, 1, step, block])
        length = BLOCKS_H[block] * 3_600
        user = np.repeat(np.arange(self.users), rng.poisson(self.rate * length / DAY_S))
        n, taste = len(user), self.taste[user]
        at = began + rng.uniform(0, length, n)
        luck = rng.random(n)
        failed = np.stack([luck < share * self.trouble[user] for share in (FAILED_SHARE, scenario.failed)])
        short = np.broadcast_to(rng.random(n) < SHORT_SHARE, (2, n)) & ~failed
        acts = self._engagement(rng, taste, scenario.engagement) * ~failed
        disliked = np.broadcast_to(rng.poisson(DISLIKES * taste), (2, n)) * ~failed
        log_ms = np.log(MEDIAN_MS) + self.pace[user] + rng.normal(0, VISIT_SIGMA, n)
        bins = np.stack([bin_of(np.exp(log_ms)), bin_of(np.exp(log_ms) * scenario.slower)])
        paired = (rng.random(n) < PAIRED_SHARE) & ~failed.any(axis=0)
        live = POSTS * LOSS * rng.gamma(4, 0.25, n)
        other = live * (1 + scenario.log_loss + self.loss_shift[user] + rng.normal(0, LOSS_PAGE_SIGMA, n))
        return [user, at, failed, short, acts, disliked, bins, paired, np.stack([live, other]) * paired]

    @staticmethod
    def _engagement(rng: np.random.Generator, taste: np.ndarray, factor: float) -> np.ndarray:
        """Weighted actions of each visit under both releases, (2, n): the canary's are the live release's, thinned or more."""
        out = []
        for chance in (LIKES, BUYS):
            live = rng.poisson(chance * taste)
            extra = np.random.default_rng(rng.integers(2**63))
            other = extra.binomial(live, factor) if factor <= 1 else live + extra.poisson(chance * taste * (factor - 1))
            out.append(np.stack([live, other]))
        return out[0] + BUY_WEIGHT * out[1]


USUAL_P95_MS = float(edges_ms[SLOW_BIN])
