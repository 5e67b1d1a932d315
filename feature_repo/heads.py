"""What a user can do to a post beyond seeing it: the actions that models learn to expect, one head each.

This is the only file that says what an action stands for. Everything else asks for a role (`OPENED`, `COMPLETED`, ...) or for
all `HEADS`; which of them a model trains follows from the data. A dataset's own actions take the slots `own_1` to `own_8`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np

from feature_repo.contracts import Action


class Role(StrEnum):
    """What an action says about its user."""

    OPENED = "opened"  # interest before the post was known: a click, a play that was begun
    COMPLETED = "completed"  # the post was consumed: a quality view, a read
    LIKED = "liked"  # approval that costs the user something: a like, a reply, a purchase
    DISLIKED = "disliked"  # displeasure


# Attribution windows: an action answers an exposure that is at most this much older. No window is longer than LABEL_GRACE, the
# time that training waits for labels.
WINDOWS = {
    # A page, a digest or a notification may lie open for hours. Later the post was more likely found elsewhere: by a search.
    Role.OPENED: timedelta(hours=6),
    # The wait for the opening, and then the length of the post itself, with breaks: a film, a podcast, a long read.
    Role.COMPLETED: timedelta(hours=12),
    # People come back to what they saw to praise, buy, hide or report it. Actions on the next day belong to another visit.
    Role.LIKED: timedelta(hours=24),
    Role.DISLIKED: timedelta(hours=24),
}
DWELL_WINDOW = WINDOWS[Role.COMPLETED]  # dwell is no head; it ends when the post was left, as a completion does


@dataclass(frozen=True)
class Head:
    """One action as a target of models."""

    action: Action
    role: Role
    promise: str  # ends the sentence "Ranked by the chance that you ..."
    prior_rate: float  # smoothing prior: the actions per impression assumed for a key with few impressions
    own_window: timedelta | None = None  # attribution window, where it is not that of the role
    undated: bool = False  # logs hold it also of exposures from before their first day
    approves: bool = False  # says that the user wants more of the author; a visit, an answer or a passing on may be critical

    @property
    def name(self) -> str:
        return self.action.value

    @property
    def window(self) -> timedelta:
        """How much older than the action the exposure may be that it answers."""
        return self.own_window or WINDOWS[self.role]


_DECLARED = (
    Head(Action.CLICK, Role.OPENED, "open it", 0.35),
    Head(Action.VIDEO_VIEW, Role.COMPLETED, "watch it through", 0.25, undated=True),
    Head(Action.LIKE, Role.LIKED, "like it", 0.015, undated=True, approves=True),
    Head(Action.PROFILE_CLICK, Role.LIKED, "visit the author's profile", 0.02, own_window=WINDOWS[Role.OPENED]),
    Head(Action.FOLLOW, Role.LIKED, "follow the author", 0.003, approves=True),
    Head(Action.REPLY, Role.LIKED, "reply to it", 0.004),
    Head(Action.SHARE, Role.LIKED, "share it", 0.003),
    Head(Action.NOT_INTERESTED, Role.DISLIKED, "say you are not interested", 0.001),
    Head(Action.REPOST, Role.LIKED, "repost it", 0.005, approves=True),
    Head(Action.QUOTE, Role.LIKED, "quote it", 0.001, approves=True),
    Head(Action.BOOKMARK, Role.LIKED, "bookmark it", 0.003, approves=True),
    Head(Action.MUTE, Role.DISLIKED, "mute the author", 0.0003),
    Head(Action.BLOCK, Role.DISLIKED, "block the author", 0.0002),
    Head(Action.REPORT, Role.DISLIKED, "report it", 0.0002),
    Head(Action.OWN_1, Role.OPENED, "{own}", 0.1),
    Head(Action.OWN_2, Role.OPENED, "{own}", 0.1),
    Head(Action.OWN_3, Role.COMPLETED, "{own}", 0.1),
    Head(Action.OWN_4, Role.COMPLETED, "{own}", 0.1),
    Head(Action.OWN_5, Role.LIKED, "{own}", 0.01, approves=True),
    Head(Action.OWN_6, Role.LIKED, "{own}", 0.01, approves=True),
    Head(Action.OWN_7, Role.DISLIKED, "{own}", 0.001),
    Head(Action.OWN_8, Role.DISLIKED, "{own}", 0.001),
)

HEAD_OF = {head.name: head for head in _DECLARED}
# Bits of a mask of actions, in this order. New heads go to the end: stored masks keep their meaning.
HEADS = tuple(HEAD_OF)
PRIOR_RATES = {name: head.prior_rate for name, head in HEAD_OF.items()}
MOST_HEADS = 64  # bits of a mask
if len(HEADS) > MOST_HEADS:
    raise ValueError(f"{len(HEADS)} heads are declared; a mask of actions holds {MOST_HEADS}")


def heads_of(*roles: Role) -> tuple[str, ...]:
    """The heads that stand for one of `roles`, in the order of HEADS."""
    return tuple(name for name, head in HEAD_OF.items() if head.role in roles)


OPENED = heads_of(Role.OPENED)
COMPLETED = heads_of(Role.COMPLETED)
LIKED = heads_of(Role.LIKED)
DISLIKED = heads_of(Role.DISLIKED)
POSITIVE = heads_of(Role.OPENED, Role.COMPLETED, Role.LIKED)
UNDATED_HEADS = tuple(sorted(name for name, head in HEAD_OF.items() if head.undated))
APPROVED = tuple(name for name, head in HEAD_OF.items() if head.approves)

# The slots that a dataset's own actions of a role may take, in the order in which they are allotted.
OWN_SLOTS = {role: tuple(name for name in heads_of(role) if name.startswith("own_")) for role in Role}


# ---- which heads a set of exposures can teach and judge --------------------------------------------------------------
LEAST_JUDGED = 30  # exposures of either outcome; with fewer a ranking metric of a head is noise
MOST_DECIDING = 2  # of the commonest, that decide where nobody chose
LEAST_TRAINED = 30  # exposures of either outcome; with fewer a head answers its base rate


def judged_heads(
    labels: np.ndarray, most: int | None = None, least: int = LEAST_JUDGED, chosen: Sequence[str] = ()
) -> tuple[str, ...]:
    """The `most` most common heads of which `labels` (n, len(HEADS)) hold `least` of either outcome, commonest first.

    Where heads are `chosen`, it is those of them that the labels can judge, however many. Empty where no action is both taken
    and left out often enough. Labels may be expectations in [0, 1].
    """
    positives = labels.sum(axis=0, dtype=np.float64).round()
    enough = np.minimum(positives, len(labels) - positives) >= least
    order = np.argsort(-positives, kind="stable")
    judged = tuple(HEADS[index] for index in order if enough[index])
    return tuple(head for head in judged if head in chosen) if chosen else judged[:most]


def trained_heads(labels: np.ndarray, least: int = LEAST_TRAINED) -> tuple[str, ...]:
    """The heads that a model of rows with `labels` (n, len(HEADS)) learns, in the order of HEADS."""
    enough = set(judged_heads(labels, least=least))
    return tuple(head for head in HEADS if head in enough)


def prior_rate(heads: Sequence[str]) -> float:
    """The share of exposures that any of `heads` is believed to answer before data says more: that of their commonest."""
    return max(PRIOR_RATES[head] for head in heads)


def places(heads: Sequence[str]) -> list[int]:
    """Where `heads` stand in HEADS."""
    return [HEADS.index(head) for head in heads]


# ---- masks -----------------------------------------------------------------------------------------------------------
def mask_of(heads: Sequence[str]) -> np.uint64:
    """The mask with the bits of `heads`."""
    return np.uint64(sum(1 << place for place in places(heads)))


def masks_of(flags: np.ndarray) -> np.ndarray:
    """Masks, uint64 (...), from flags (..., len(HEADS)), bool or 0/1."""
    packed = np.packbits(flags.astype(bool, copy=False), axis=-1, bitorder="little")
    eight = np.zeros((*packed.shape[:-1], 8), np.uint8)
    eight[..., : packed.shape[-1]] = packed
    return eight.view("<u8")[..., 0]


def flags_of(masks: np.ndarray) -> np.ndarray:
    """Flags, uint8 (..., len(HEADS)), from masks, uint64 (...)."""
    eight = np.ascontiguousarray(masks, "<u8")[..., None].view(np.uint8)
    return np.unpackbits(eight, axis=-1, count=len(HEADS), bitorder="little")
