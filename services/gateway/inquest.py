"""Whether a release is so broken that nobody should wait for the judge: its answers against another release's, on one request.

A bad answer of a suspect opens an inquest. While it lasts, requests are sent to both releases; the second answer is dropped.
So the finding does not wait for the suspect's share of the traffic, and what is wrong with both (a broker, a store) condemns
neither. Pure: the caller has the clock and the requests.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

PAGES = ("/for_you", "/following")  # requests that may be asked twice, and whose answers tell how well a release is
KEPT_TIMES = 200  # newest times to answer of each release, for what is usual


@dataclass(frozen=True)
class FastPathPolicy:
    """When the door takes a release off the traffic by itself. Every bound of it stands here."""

    lasts_s: float = 4.0  # of an inquest; a rollback comes within 5 s of the first bad answer, or not by the door
    least_pairs: int = 5  # requests that both releases answered
    bad_share: float = 0.5  # of the suspect's answers, from which on it is broken
    other_share: float = 0.1  # of the other's answers to the same requests, up to which it is well
    rest_s: float = 5.0  # after an inquest that cleared the release, before the next
    slow_ratio: float = 5.0  # an answer is slow that took so many times the usual time of the other release,
    slow_s: float = 0.5  # and at least so long
    fresh_s: float = 3600.0  # a live release is suspected for so long after it went live; later it is the judge's and people's


@dataclass(frozen=True)
class Heard:
    """One answer: what is wrong with it, None where it is well, and the seconds it took."""

    wrong: str | None
    seconds: float


@dataclass
class _Case:
    opened: float
    suspect_bad: int = 0
    other_bad: int = 0
    pairs: int = 0
    wrongs: list[str] = field(default_factory=list)


@dataclass
class Inquests:
    """Open cases by suspect."""

    policy: FastPathPolicy = FastPathPolicy()
    _open: dict[str, _Case] = field(default_factory=dict)
    _rests_until: dict[str, float] = field(default_factory=dict)
    _times: dict[str, deque[float]] = field(default_factory=dict)

    def usual(self, release: str) -> float | None:
        """The median seconds of the release's newest answers; None before there were ten."""
        times = self._times.get(release, ())
        return median(times) if len(times) >= 10 else None

    def wrong(self, heard: Heard, other: str | None) -> str | None:
        """What is wrong with an answer, slowness included, which is seen beside the `other` release."""
        usual = self.usual(other) if other else None
        slow = usual is not None and heard.seconds > max(self.policy.slow_s, self.policy.slow_ratio * usual)
        return heard.wrong or ("slow" if slow else None)

    def heard(self, release: str, other: str | None, heard: Heard, now: float) -> bool:
        """Note an answer that a user got; returns whether the release is a suspect, so that requests should go to both."""
        wrong = self.wrong(heard, other)
        self._times.setdefault(release, deque(maxlen=KEPT_TIMES)).append(heard.seconds)
        self._close(release, now)
        if wrong is not None and release not in self._open and now >= self._rests_until.get(release, -math.inf):
            self._open[release] = _Case(now)
        return release in self._open

    def suspected(self, release: str, now: float) -> bool:
        """Whether an inquest into the release is open."""
        self._close(release, now)
        return release in self._open

    def pair(self, suspect: str, other: str, of_suspect: Heard, of_other: Heard, now: float) -> str | None:
        """Note what both answered to one request; returns the finding against the suspect, in words, once there is one."""
        self._close(suspect, now)
        case = self._open.get(suspect)
        if case is None:
            return None
        wrong = self.wrong(of_suspect, other)
        case.pairs += 1
        case.suspect_bad += wrong is not None
        case.other_bad += of_other.wrong is not None
        if wrong is not None:
            case.wrongs.append(wrong)
        if case.pairs < self.policy.least_pairs:
            return None
        if case.suspect_bad < self.policy.bad_share * case.pairs or case.other_bad > self.policy.other_share * case.pairs:
            return None
        del self._open[suspect]
        what = max(set(case.wrongs), key=case.wrongs.count)
        return (
            f"{case.suspect_bad} of {case.pairs} answers were bad, most often {what}, within {now - case.opened:.1f} s, while "
            f"{other} answered {case.pairs - case.other_bad} of the same requests well"
        )

    def _close(self, suspect: str, now: float) -> None:
        case = self._open.get(suspect)
        if case is not None and now - case.opened > self.policy.lasts_s:
            del self._open[suspect]
            self._rests_until[suspect] = now + self.policy.rest_s


def wrong_with(status: int, body: bytes, path: str) -> str | None:
    """What is wrong with an answer as the door sees it: an error, an empty page, scores that are no numbers; else None."""
    if status >= 500:
        return f"error {status}"
    if status != 200 or path not in PAGES:
        return None
    if b'"posts":[]' in body:
        return "an empty page"
    return "scores that are no numbers" if b'"score":null' in body else None
