"""What one visit during a canary says about the release that served it, and the same per user as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np


@dataclass(frozen=True)
class VisitEvidence:
    """One request served by `release_id` and judged on its logged outcomes.

    Log losses are sums over `rows` judged posts, in nats, by head of the ranker. The reference is one fixed predictor
    that scored the same rows in both arms: subtracting it takes out how hard a user is to predict.
    """

    release_id: str
    user_id: int
    request_id: str
    at_us: int
    rows: int
    log_loss: Mapping[str, float] = field(default_factory=dict)
    reference_log_loss: Mapping[str, float] = field(default_factory=dict)
    ndcg: float | None = None  # None: no outcome to rank in this visit
    reference_ndcg: float | None = None  # of the reference predictor on the same posts
    latency_ms: float = 0.0
    error: bool = False
    empty: bool = False
    distinct_author_share: float | None = None  # None: no timeline was served


@dataclass(frozen=True)
class ArmEvidence:
    """The visits of one arm by user. Arrays are (users,) unless said; users are in order of their id."""

    user_id: np.ndarray  # int64
    visits: np.ndarray  # int64
    rows: np.ndarray  # int64, judged posts
    log_loss: dict[str, np.ndarray]  # head -> float64 sums over rows
    reference_log_loss: dict[str, np.ndarray]  # head -> float64 sums over rows, NaN where the visit had no reference
    ndcg_sum: np.ndarray  # float64
    reference_ndcg_sum: np.ndarray  # float64, NaN where a visit had no reference
    ndcg_visits: np.ndarray  # int64, visits with an outcome to rank
    errors: np.ndarray  # int64
    empties: np.ndarray  # int64
    author_share_sum: np.ndarray  # float64
    author_share_visits: np.ndarray  # int64
    latency_ms: np.ndarray  # float64 (visits without an error,), sorted

    def __len__(self) -> int:
        return len(self.user_id)

    @property
    def total_visits(self) -> int:
        return int(self.visits.sum())

    def without(self, user_ids: np.ndarray) -> ArmEvidence:
        """The same evidence without the given users. Latencies are per visit, not per user, and stay."""
        keep = ~np.isin(self.user_id, user_ids)
        if keep.all():
            return self
        columns = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "latency_ms":
                columns[name] = value
            elif isinstance(value, dict):
                columns[name] = {head: sums[keep] for head, sums in value.items()}
            else:
                columns[name] = value[keep]
        return ArmEvidence(**columns)

    @staticmethod
    def of(visits: Iterable[VisitEvidence]) -> ArmEvidence:
        """Sum visits by user. A visit that failed counts as an error and for nothing else."""
        every = list(visits)
        users, row_of = np.unique(np.array([visit.user_id for visit in every], np.int64), return_inverse=True)

        def total(value: Callable[[VisitEvidence], float]) -> np.ndarray:
            weights = np.fromiter((value(visit) for visit in every), np.float64, len(every))
            return np.bincount(row_of, weights=weights, minlength=len(users))

        def count(holds: Callable[[VisitEvidence], bool | int]) -> np.ndarray:
            return total(holds).astype(np.int64)

        heads = sorted({head for visit in every for head in visit.log_loss})
        return ArmEvidence(
            user_id=users,
            visits=count(lambda visit: 1),
            rows=count(lambda visit: 0 if visit.error else visit.rows),
            log_loss={head: total(partial(_loss, head=head)) for head in heads},
            reference_log_loss={head: total(partial(_reference_loss, head=head)) for head in heads},
            ndcg_sum=total(lambda visit: visit.ndcg if _ranked(visit) else 0.0),
            reference_ndcg_sum=total(_reference_ndcg),
            ndcg_visits=count(_ranked),
            errors=count(lambda visit: visit.error),
            empties=count(lambda visit: visit.empty and not visit.error),
            author_share_sum=total(lambda visit: visit.distinct_author_share or 0.0),
            author_share_visits=count(lambda visit: visit.distinct_author_share is not None),
            latency_ms=np.sort(np.array([visit.latency_ms for visit in every if not visit.error], np.float64)),
        )


def _ranked(visit: VisitEvidence) -> bool:
    return not visit.error and visit.ndcg is not None


def _loss(visit: VisitEvidence, head: str) -> float:
    return 0.0 if visit.error else visit.log_loss.get(head, 0.0)


def _reference_loss(visit: VisitEvidence, head: str) -> float:
    if visit.error or visit.rows == 0:
        return 0.0
    return visit.reference_log_loss.get(head, math.nan)


def _reference_ndcg(visit: VisitEvidence) -> float:
    if not _ranked(visit):
        return 0.0
    return math.nan if visit.reference_ndcg is None else visit.reference_ndcg
