"""Whether a release is so broken that nobody should wait for the judge: its answers beside another release's, on one request.

A bad answer of a suspect opens an inquest. While it lasts, requests are sent to both releases; the second answer is dropped.
So the finding does not wait for the suspect's share of the traffic, and what is wrong with both (a broker, a store, a busy
machine) condemns neither. Pure: the caller has the clock and the requests.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from feature_repo.served_messages import EMPTY, NOT_NUMBERS

SLOW, LATE = "slow", "no answer in time"
PAGES = ("/for_you", "/following")  # requests that may be asked twice, and whose answers tell how well a release is
KEPT_TIMES = 200  # newest times to answer of each release, for what is usual
LEAST_TIMES = 10  # before anything is usual
SHEDDING = "error 503"  # what a release answers that has too much to do


@dataclass(frozen=True)
class FastPathPolicy:
    """When the door takes a release off the traffic by itself. Every bound of it stands here."""

    lasts_s: float = 3.0  # in which requests are sent to both
    copy_s: float = 1.5  # that a second answer may take; so a finding comes within 5 s of the first bad answer, or not
    least_pairs: int = 5  # requests that both releases answered
    least_users: int = 3  # whose answers were bad: one user's odd request is no broken release
    bad_share: float = 0.5  # of the suspect's answers, from which on it is broken
    other_share: float = 0.1  # of the other's answers to the same requests, up to which it is well
    rest_s: float = 5.0  # after an inquest, before the next into the same release
    slow_ratio: float = 5.0  # an answer is slow that took so many times what the other's took,
    slow_s: float = 0.5  # and at least so long
    slow_for_s: float = 2.5  # since the first slow or late one: a process that stood still makes a handful of them at once
    slow_share: float = 0.8  # of the suspect's answers, where most of the bad ones are slow or late
    fresh_s: float = 3600.0  # a live release is suspected for so long after it went live; later it is people's business


@dataclass(frozen=True)
class Heard:
    """One answer: what is wrong with it, None where it is well, and the seconds it took."""

    wrong: str | None
    seconds: float


@dataclass
class _Case:
    opened: float
    pairs: int = 0
    suspect_bad: int = 0
    other_bad: int = 0
    wrongs: list[str] = field(default_factory=list)
    users: set[str] = field(default_factory=set)  # who would have had a bad answer


@dataclass
class Inquests:
    """Open cases by suspect."""

    policy: FastPathPolicy = FastPathPolicy()
    _open: dict[str, _Case] = field(default_factory=dict)
    _rests_until: dict[str, float] = field(default_factory=dict)
    _times: dict[str, deque[float]] = field(default_factory=dict)

    def heard(self, release: str, other: str | None, heard: Heard, now: float, *, may_open: bool = True) -> None:
        """Note an answer that a user got; a bad one opens an inquest into its release, where that may be."""
        wrong = heard.wrong or (SLOW if self._slow(heard.seconds, self._usual(other)) else None)
        self._times.setdefault(release, deque(maxlen=KEPT_TIMES)).append(heard.seconds)
        self._forget_old(release, now)
        if wrong and may_open and release not in self._open and now >= self._rests_until.get(release, -math.inf):
            self._open[release] = _Case(now)

    def suspected(self, release: str, now: float) -> bool:
        """Whether requests should go to the release and to another."""
        case = self._open.get(release)
        return case is not None and now - case.opened <= self.policy.lasts_s

    def pair(
        self, suspect: str, other: str, user: str, of_suspect: Heard, of_other: Heard, now: float, *, loaded: bool = False
    ) -> str | None:
        """Note what both answered to one request; returns the finding against the suspect, in words, once there is one.

        loaded: the suspect has all the load, and the other next to none: that it is slower is no finding.
        """
        self._forget_old(suspect, now)
        case = self._open.get(suspect)
        if case is None:
            return None
        wrong = of_suspect.wrong or (SLOW if self._slow(of_suspect.seconds, of_other.seconds) else None)
        case.pairs += 1
        case.other_bad += of_other.wrong is not None
        if wrong is not None:
            case.suspect_bad += 1
            case.wrongs.append(wrong)
            case.users.add(user)
        if not self._found(case, now):
            return None
        self._close(suspect, now)
        what = max(set(case.wrongs), key=case.wrongs.count)
        if loaded and what in (SLOW, LATE):
            return None
        return (
            f"{case.suspect_bad} of {case.pairs} answers were bad, most often {what}, within {now - case.opened:.1f} s, while "
            f"{other} answered {case.pairs - case.other_bad} of the same requests well"
        )

    def _found(self, case: _Case, now: float) -> bool:
        bounds = self.policy
        mostly_slow = 2 * sum(wrong in (SLOW, LATE) for wrong in case.wrongs) > len(case.wrongs)
        if mostly_slow and now - case.opened < bounds.slow_for_s:
            return False
        share = bounds.slow_share if mostly_slow else bounds.bad_share
        enough = case.pairs >= bounds.least_pairs and len(case.users) >= bounds.least_users
        return enough and case.suspect_bad >= share * case.pairs and case.other_bad <= bounds.other_share * case.pairs

    def _usual(self, release: str | None) -> float | None:
        """The median seconds of the release's newest answers; None before there were LEAST_TIMES."""
        times = self._times.get(release or "", ())
        return median(times) if len(times) >= LEAST_TIMES else None

    def _slow(self, seconds: float, usual: float | None) -> bool:
        return usual is not None and seconds > max(self.policy.slow_s, self.policy.slow_ratio * usual)

    def _forget_old(self, suspect: str, now: float) -> None:
        """Close a case whose last second answers have come, or never will."""
        case = self._open.get(suspect)
        if case is not None and now - case.opened > self.policy.lasts_s + self.policy.copy_s:
            self._close(suspect, now)

    def _close(self, suspect: str, now: float) -> None:
        del self._open[suspect]
        self._rests_until[suspect] = now + self.policy.rest_s


def wrong_with(status: int, body: bytes, path: str) -> str | None:
    """What is wrong with an answer as the door sees it: an error, an empty page, scores that are no numbers; else None."""
    if status >= 500:
        return f"error {status}"
    if status != 200 or path not in PAGES:
        return None
    if b'"posts":[]' in body:
        return EMPTY
    return NOT_NUMBERS if b'"score":null' in body else None
