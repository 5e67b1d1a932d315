"""One page whose posts may still be answered, and what it adds to the sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from feature_repo.heads import HEAD_OF, HEADS, Role
from feature_repo.served_messages import TREATMENT, trial_of

_EPSILON = 1e-6
DAY_US = 86_400_000_000
# What an action is worth where the settings name no weight: praise says more than an opening.
ROLE_WEIGHTS = {Role.OPENED: 1.0, Role.COMPLETED: 1.0, Role.LIKED: 2.0, Role.DISLIKED: 0.0}

Predictions = dict[int, dict[str, float]]  # post -> action -> probability


class PageContent(msgspec.Struct):
    """The part of a page that is stored as one blob; see Page."""

    posts: list[int]
    answers: list[int]
    seen: list[int]
    predictions: dict[str, Predictions]
    experiments: dict[str, str] = {}


def engagement_weights(chosen: Mapping[str, float]) -> tuple[float, ...]:
    """Weight by place in HEADS; `chosen` replaces those of the actions that it names. Raises ValueError for no action."""
    if unknown := sorted(set(chosen) - set(HEADS)):
        raise ValueError(f"MIXER_ENGAGEMENT_WEIGHTS names {unknown[0]!r}, which is no action; there are {', '.join(HEADS)}")
    return tuple(chosen.get(name, ROLE_WEIGHTS[head.role]) for name, head in HEAD_OF.items())


@dataclass
class Page:
    """Posts by position. `shown`: the page itself came, and not only another release's copy of it.

    answers: masks of HEADS. seen: whether an impression or an action says that the user saw the post. mature: whether its
    labels are taken for complete, so that predictions may be judged by them.
    """

    request_id: str
    user_id: int
    shown: bool = False
    assigned: str | None = None
    canary: str | None = None
    step: int | None = None
    release: str | None = None  # whose page the user got
    at_us: int = 0
    logged_us: int = 0
    mature: bool = False
    author_share: float | None = None
    age_hours: float | None = None
    posts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    predictions: dict[str, Predictions] = field(default_factory=dict)
    experiments: dict[str, str] = field(default_factory=dict)  # the user's arm by experiment
    row: int | None = None  # its id in the database

    def answer(self, place: int, head: str | None) -> bool:
        """Note that the post at `place` was seen, and answered by `head` where one is given; whether that is new."""
        bit = 0 if head is None else 1 << HEADS.index(head)
        before = self.answers[place], self.seen[place]
        self.answers[place] |= bit
        self.seen[place] = 1
        return before != (self.answers[place], self.seen[place])

    def engagement(self, weights: tuple[float, ...]) -> float:
        """Weighted actions that followed."""
        return sum(weight * self._count(place) for place, weight in enumerate(weights) if weight)

    def disliked(self) -> int:
        """Actions of displeasure that followed."""
        return sum(self._count(place) for place, head in enumerate(HEAD_OF.values()) if head.role is Role.DISLIKED)

    def _count(self, head: int) -> int:
        return sum(mask >> head & 1 for mask in self.answers)

    def exposed(self) -> list[int]:
        """Places that the user is known to have seen.

        Where no impression is reported, everything above the lowest post that was acted on was passed by.
        """
        acted = [place for place, mask in enumerate(self.answers) if mask]
        if sum(self.seen) > len(acted):
            return [place for place, seen in enumerate(self.seen) if seen]
        return list(range(acted[-1] + 1)) if acted else []


Sums = dict[tuple, dict[str, float]]


def page_sums(page: Page, weights: tuple[float, ...]) -> dict[str, Sums]:
    """What the page adds, by table and key; `weights` as of `engagement_weights`. Nothing while only a copy is there."""
    if not page.shown:
        return {}
    engagement = page.engagement(weights)
    added: dict[str, Sums] = {"outcome_days": {(page.user_id, page.at_us // DAY_US, during(page)): {"engagement": engagement}}}
    if page.posts:
        values = {
            "pages": 1.0,
            "posts": float(len(page.posts)),
            "engagement": engagement,
            "disliked": float(page.disliked()),
            "author_share": page.author_share or 0.0,
            "age_hours": page.age_hours or 0.0,
        }
        splits = splits_of(page.canary, page.step, page.assigned, page.experiments)
        added["outcome_page_sums"] = {(*split, page.user_id): values for split in splits}
    if page.canary is not None:
        added["outcome_losses"] = _losses(page, page.canary)
    return added


def during(page: Page) -> str:
    """What was on trial for the page's user when it was served, each between bars; empty where nothing was."""
    trials = [*([page.canary] if page.canary else []), *map(trial_of, sorted(page.experiments))]
    return f"|{'|'.join(trials)}|"[:255] if trials else ""


def splits_of(
    canary: str | None, step: int | None, assigned: str | None, experiments: Mapping[str, str]
) -> list[tuple[str, int, str]]:
    """Every comparison that a request belongs to: what is on trial, its step, and the side that the user is on.

    An experiment has one step, 0, and its treatment goes by the experiment's own key, as a canary does.
    """
    splits = [] if canary is None or step is None or assigned is None else [(canary, step, assigned)]
    return splits + [(key := trial_of(name), 0, key if arm == TREATMENT else arm) for name, arm in experiments.items()]


def _losses(page: Page, canary: str) -> Sums:
    """Summed log losses by action of posts that both releases predicted and the user saw; none before labels are complete."""
    other = _live_of(page, canary)
    if not page.mature or canary not in page.predictions or other is None:
        return {}
    live, tried = page.predictions[other], page.predictions[canary]
    sums: Sums = {}
    for place in page.exposed():
        post = page.posts[place]
        if post not in live or post not in tried:
            continue
        for head in live[post].keys() & tried[post].keys():
            label = page.answers[place] >> HEADS.index(head) & 1
            losses = [_log_loss(one[post][head], label) for one in (live, tried)]
            if not all(map(math.isfinite, losses)):
                continue
            row = sums.setdefault((canary, page.user_id, head), dict.fromkeys(("rows", "positives", *_LOSSES), 0.0))
            for name, value in zip(("rows", "positives", *_LOSSES), (1.0, label, *losses), strict=True):
                row[name] += value
    return sums


_LOSSES = ("live_loss", "canary_loss")


def _live_of(page: Page, canary: str) -> str | None:
    """The release that the canary is compared with: the user's own where that is another, else the one beside it.

    None where none predicted, or where copies of several make it unclear.
    """
    others = [release for release in page.predictions if release != canary]
    if page.assigned in others:
        return page.assigned
    return others[0] if len(others) == 1 else None


def _log_loss(probability: float, label: int) -> float:
    if not math.isfinite(probability):
        return math.nan
    p = min(max(probability, _EPSILON), 1 - _EPSILON)
    return -math.log(p if label else 1 - p)
