"""Seeded FeatureRows with a known signal, of any size: what ranking and training tests run on."""

from __future__ import annotations

import numpy as np

from feature_repo.blocks import BLOCK_NAMES, history_blocks
from feature_repo.feature_rows import BLOCKS, HISTORY_LENGTH, FeatureRows, History
from feature_repo.heads import HEADS

# Read off histories, so their columns are the real ones: slates make them anew.
MATCHED = {name: len(BLOCK_NAMES[name]) for name in ("user_author", "user_topic", "user_post", "context")}
WIDTHS = {"user": 12, "post": 9, "author": 7, "topic": 6, **MATCHED}
BASE_RATES = (0.4, 0.3, 0.1, 0.05, 0.03, 0.03, 0.02, 0.02)  # of the first heads; nothing follows by the others
_DAY_US = 86_400_000_000
_START_US = 1_651_334_400_000_000  # 30 April 2022 16:00 UTC


def synthetic_history(n: int, posts: int, random: np.random.Generator) -> History:
    """n histories of random lengths (some empty), padded in front, ids in the style of `synthetic_rows`."""
    length = random.integers(0, HISTORY_LENGTH + 1, n)
    length[: min(n, 2)] = (0, HISTORY_LENGTH)[: min(n, 2)]
    present = np.arange(HISTORY_LENGTH) >= HISTORY_LENGTH - length[:, None]
    post = random.integers(0, posts, (n, HISTORY_LENGTH))
    age = np.sort(random.exponential(40_000, (n, HISTORY_LENGTH)), axis=1)[:, ::-1]
    undated = random.random((n, HISTORY_LENGTH)) < 0.2
    dwell_s = np.minimum(random.exponential(12.0, (n, HISTORY_LENGTH)), 300.0).round(1)
    return History(
        post_id=np.where(present, post, -1),
        author_id=np.where(present, post // 3, -1),
        topic=np.where(present, post % 11, -1).astype(np.int32),
        actions=np.where(present, random.integers(0, 256, post.shape), 0).astype(np.uint64),
        product=np.where(present, random.integers(0, 5, post.shape), -1).astype(np.int32),
        age_s=np.where(present & ~undated, age, np.nan).astype(np.float32),
        dwell_s=np.where(present & ~undated, dwell_s, 0.0).astype(np.float32),
    )


def synthetic_rows(
    n: int, *, seed: int = 0, users: int = 200, posts: int = 300, widths: dict[str, int] | None = None, shared: bool = False
) -> FeatureRows:
    """n rows in time order over three days. Clicks follow dense columns, post and history; `shared` = one request."""
    random = np.random.default_rng(seed)
    met = widths is None  # what histories say of candidates is made from them; of other widths it can only be drawn
    widths = widths or WIDTHS
    blocks = {name: random.lognormal(0.0, 1.0, (n, widths[name])).astype(np.float32) for name in BLOCKS}
    post = random.integers(0, posts, n)
    user = np.zeros(n, np.int64) if shared else random.integers(0, users, n)
    history = synthetic_history(1 if shared else n, posts, random)
    if shared:
        blocks["user"] = np.broadcast_to(blocks["user"][:1], (n, widths["user"])).copy()
    product = random.integers(0, 5, n).astype(np.int32)
    occurred_at = np.sort(_START_US + random.integers(0, 3 * _DAY_US, n))
    topic = (post % 11).astype(np.int32)
    if met:
        blocks |= history_blocks(history, post, post // 3, topic, product, occurred_at)
    return FeatureRows(
        user_id=user,
        post_id=post,
        author_id=post // 3,
        topic=topic,
        product=product,
        blocks=blocks,
        history=history,
        labels=_labels(blocks, post, history, random),
        occurred_at=occurred_at,
        names={name: tuple(f"{name}_{i}" for i in range(widths[name])) for name in BLOCKS},
        dwell_s=np.minimum(random.exponential(12.0, n), 300.0).round(1).astype(np.float32),
    )


def _labels(blocks: dict[str, np.ndarray], post: np.ndarray, history: History, random: np.random.Generator) -> np.ndarray:
    same_topic = (history.topic == (post % 11)[:, None]).mean(1)
    pull = (
        1.2 * np.log1p(blocks["user"][:, 0])
        - 1.2 * np.log1p(blocks["post"][:, 1])
        + 2.0 * np.sin(post)
        + 6.0 * same_topic
        - 0.5
    )
    base = np.log(np.array(BASE_RATES) / (1 - np.array(BASE_RATES)))
    strength = np.array([1.0, 1.0, 0.8, 0.5, 0.5, 0.5, 0.5, -0.5])
    probability = 1 / (1 + np.exp(-(pull[:, None] * strength + base)))
    labels = np.zeros((len(post), len(HEADS)), np.uint8)
    labels[:, : len(BASE_RATES)] = random.random(probability.shape) < probability
    return labels
