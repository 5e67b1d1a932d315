"""What a policy would choose at logged decisions: the model's scores of the whole pool, as chances of each of its posts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows, UserFeatures
from feature_repo.request_rows import candidate_rows
from feature_repo.snapshot import Snapshot
from flows.evaluation.decisions import Decisions
from flows.evaluation.pool import Pool, PoolAsOf
from flows.steps.progress import announce
from flows.training.baselines import Predict

DECISIONS_AT_ONCE = 4_096  # whose users' blocks and histories are alive at once
TOLD_EVERY = 50  # decisions

Score = Callable[[np.ndarray], np.ndarray]  # probabilities (m, len(HEADS)) -> what the policy ranks by, float64 (m,)


@dataclass(frozen=True)
class Scored:
    """One decision. `post_id` int64 (m,): the open posts, ascending; `probabilities` float32 (m, len(HEADS)) of each."""

    number: int  # of the decision
    post_id: np.ndarray
    probabilities: np.ndarray
    logged: int  # row of the logged post, -1 where the pool does not hold it then

    def __len__(self) -> int:
        return len(self.post_id)


@dataclass(frozen=True)
class Choices:
    """What the judged policy would do at n decisions, for T temperatures. Decisions with an empty pool are not `judged`."""

    policy: np.ndarray  # float64 (T, n), its probability of the logged post
    expected: np.ndarray  # float64 (T, n), the model's reward of a post drawn by it
    predicted: np.ndarray  # float64 (n,), the model's reward of the logged post; 0 where the pool does not hold it
    inside: np.ndarray  # bool (n,), the pool holds the logged post
    open_posts: np.ndarray  # int64 (n,)

    @property
    def judged(self) -> np.ndarray:
        return self.open_posts > 0


def choice(scores: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(scores / temperature), float64 (m,); at temperature 0 evenly among the best."""
    above = scores - scores.max()
    weight = (above == 0).astype(np.float64) if temperature == 0 else np.exp(above / temperature)
    return weight / weight.sum()


def choose(
    decisions: Decisions, pool: Pool, predict: Predict, score: Score, column: int, temperatures: Sequence[float]
) -> Choices:
    """What the policies of `temperatures` would do at every decision; `column` is the rewarded head's.

    Raises ValueError where no post of the pool was open at any of them.
    """
    n = len(decisions)
    policy, expected = np.zeros((len(temperatures), n)), np.zeros((len(temperatures), n))
    predicted, inside, open_posts = np.zeros(n), np.zeros(n, bool), np.zeros(n, np.int64)
    for one in scored_decisions(decisions, pool, predict):
        at = one.number
        open_posts[at], inside[at] = len(one), one.logged >= 0
        if len(one) == 0:
            continue
        scores, rewards = score(one.probabilities), one.probabilities[:, column].astype(np.float64)
        predicted[at] = rewards[one.logged] if inside[at] else 0.0
        for place, temperature in enumerate(temperatures):
            chances = choice(scores, temperature)
            policy[place, at] = chances[one.logged] if inside[at] else 0.0
            expected[place, at] = chances @ rewards
    if not open_posts.any():
        raise ValueError("no post of the pool was open at any decision: check its since and until, or the posts' created_at")
    return Choices(policy, expected, predicted, inside, open_posts)


def scored_decisions(decisions: Decisions, pool: Pool, predict: Predict) -> Iterator[Scored]:
    """Every decision with the model's probabilities of all posts that were open then, by when its page was asked for.

    Memory holds DECISIONS_AT_ONCE users and the blocks of `pool.POSTS_AT_ONCE` posts at a time.
    """
    as_of = PoolAsOf(pool, decisions.known.tables)
    asked_us = decisions.known.log.asked_us[decisions.exposure]
    in_order = np.argsort(asked_us, kind="stable")
    for start in range(0, len(decisions), DECISIONS_AT_ONCE):
        numbers = in_order[start : start + DECISIONS_AT_ONCE].tolist()
        rows = decisions.known.rows(decisions.exposure[numbers])
        for row, number in enumerate(numbers):
            if (start + row) % TOLD_EVERY == 0:
                announce(f"scoring the pool: {start + row:,} of {len(decisions):,} decisions")
            ids, probabilities = [np.zeros(0, np.int64)], [np.zeros((0, len(HEADS)), np.float32)]
            for part in as_of.parts(int(asked_us[number])):
                ids.append(part.post_id)
                probabilities.append(predict(_candidates(rows, row, int(asked_us[number]), part, decisions.products)))
            yield _scored(number, np.concatenate(ids), np.concatenate(probabilities), int(rows.post_id[row]))


def _scored(number: int, post_id: np.ndarray, probabilities: np.ndarray, logged: int) -> Scored:
    place = int(np.searchsorted(post_id, logged))
    held = place < len(post_id) and post_id[place] == logged
    return Scored(number, post_id, probabilities, place if held else -1)


def _candidates(rows: FeatureRows, row: int, asked_us: int, part: Snapshot, products: dict[int, str]) -> FeatureRows:
    """All posts of `part` beside the user of training row `row`, as of the moment at which its page was asked for."""
    user = UserFeatures(
        user_id=int(rows.user_id[row]),
        user=rows.blocks["user"][row : row + 1],
        history=rows.history.rows(np.array([row])),
        known=True,
    )
    return candidate_rows(user, part, np.arange(len(part)), products[int(rows.product[row])], asked_us)
