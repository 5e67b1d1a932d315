"""Arms of visits with a known truth, for the judge's tests."""

from __future__ import annotations

import numpy as np

from monitoring.canary.visits import ArmEvidence


def arm(
    rng: np.random.Generator,
    users: int,
    *,
    first_user: int = 0,
    worse: float = 0.0,
    error_share: float = 0.0,
    slower: float = 1.0,
    ndcg_loss: float = 0.0,
) -> ArmEvidence:
    """An arm of `users`: heavy-tailed users, noisy log loss around a per-user level that the reference knows in part."""
    rows = np.minimum(rng.geometric(0.15, users), 60)
    level = rng.lognormal(-0.6, 0.45, users)
    noise = rng.standard_t(4, users) * 0.25 / np.sqrt(rows)
    loss = (level + noise + worse) * rows
    reference = (level + rng.normal(0, 0.05, users)) * rows
    errors = rng.random(users) < error_share
    one = np.ones(users, np.int64)
    return ArmEvidence(
        user_id=first_user + np.arange(users),
        visits=one,
        rows=np.where(errors, 0, rows),
        log_loss={"click": np.where(errors, 0, loss), "video_view": np.where(errors, 0, loss * rng.normal(0.8, 0.05, users))},
        reference_log_loss={"click": np.where(errors, 0, reference), "video_view": np.where(errors, 0, reference * 0.8)},
        ndcg_sum=np.where(errors, 0, np.clip(rng.normal(0.6 - ndcg_loss, 0.2, users), 0, 1)),
        reference_ndcg_sum=np.full(users, np.nan),
        ndcg_visits=(~errors).astype(np.int64),
        errors=errors.astype(np.int64),
        empties=np.zeros(users, np.int64),
        author_share_sum=np.where(errors, 0, rng.beta(16, 2, users)),
        author_share_visits=(~errors).astype(np.int64),
        latency_ms=np.sort(rng.lognormal(3, 0.5, int((~errors).sum())) * slower),
    )


def first_users(evidence: ArmEvidence, users: int) -> ArmEvidence:
    """The evidence as it stood when only the first `users` had come."""
    columns = {}
    for name in evidence.__dataclass_fields__:
        value = getattr(evidence, name)
        if isinstance(value, dict):
            columns[name] = {head: sums[:users] for head, sums in value.items()}
        else:
            columns[name] = value if name == "latency_ms" else value[:users]
    return ArmEvidence(**columns)
