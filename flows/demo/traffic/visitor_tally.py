"""What the simulated visitors met so far, by release, and how it is told."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field, fields

import numpy as np

LATENCIES_KEPT = 5_000  # newest pages whose latency the percentiles are of


@dataclass
class OfRelease:
    """What one release served, and what it brought."""

    pages: int = 0
    posts_seen: int = 0
    clicks: int = 0
    not_interested: int = 0


@dataclass
class Tally:
    """Counts since the visitors first came to this home; they outlive the process."""

    visits: int = 0
    page_errors: int = 0  # pages that were not served; the person leaves
    empty_pages: int = 0
    events_accepted: int = 0
    events_rejected: int = 0
    events_lost: int = 0  # given up after several tries
    posts_published: int = 0
    first_error: str | None = None
    first_rejection: str | None = None
    releases: dict[str, OfRelease] = field(default_factory=dict)
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT), repr=False)  # of this process

    @property
    def pages(self) -> int:
        """Pages that were served."""
        return sum(one.pages for one in self.releases.values())

    def page(self, release: str, latency_ms: float) -> None:
        self.releases.setdefault(release, OfRelease()).pages += 1
        self.latency_ms.append(latency_ms)

    def looked(self, release: str, clicked: np.ndarray, not_interested: np.ndarray) -> None:
        """A person has looked at posts of a page: bool (n,) each."""
        of = self.releases.setdefault(release, OfRelease())
        of.posts_seen += len(clicked)
        of.clicks += int(clicked.sum())
        of.not_interested += int(not_interested.sum())

    def error(self, said: str) -> None:
        self.page_errors += 1
        self.first_error = self.first_error or said

    def by_release(self) -> dict[str, dict[str, float]]:
        """Counts of each release with its share of the pages and its clicks a page."""
        pages = max(self.pages, 1)
        return {
            name: {
                **asdict(one),
                "share_of_pages": round(one.pages / pages, 4),
                "clicks_per_page": round(one.clicks / max(one.pages, 1), 4),
            }
            for name, one in sorted(self.releases.items())
        }

    def latency(self) -> dict[str, float]:
        """Percentiles of the newest pages' latency in milliseconds."""
        newest = list(self.latency_ms)
        return {f"p{share}": round(float(np.percentile(newest, share)), 1) for share in (50, 95, 99)} if newest else {}

    def counts(self) -> dict:
        """All that a checkpoint keeps."""
        return {name: value for name, value in asdict(self).items() if name != "latency_ms"}

    @staticmethod
    def of_counts(counts: dict) -> Tally:
        """The tally that `counts` were kept of; counts of another version that are not known here are left out."""
        releases = {name: OfRelease(**one) for name, one in counts["releases"].items()}
        known = {one.name for one in fields(Tally)}
        return Tally(**{**{name: value for name, value in counts.items() if name in known}, "releases": releases})
