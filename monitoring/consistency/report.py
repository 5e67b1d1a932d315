"""The consistency report: a verdict over all families, kept as JSON and as a page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from feature_repo.recomputation.vector_pairs import RANKING
from infra.storage import replace_atomically
from monitoring.consistency.mismatch import FamilyMismatch
from monitoring.report_page import render_page

FOLDER, LATEST, PAGE = "consistency", "latest.json", "index.html"  # FOLDER: under the reports


class ServedFeaturesDiffer(RuntimeError):
    """More than the allowed share of a family's served vectors differ from what the lake's events give."""


@dataclass(frozen=True)
class ConsistencyReport:
    """What one run of the check found. `bound`: the largest share of differing vectors that a family may have."""

    at: datetime
    label: str  # of the dataset
    bound: float
    families: tuple[FamilyMismatch, ...]
    left_out: tuple[str, ...] = ()  # what could not be checked, a sentence each

    @property
    def broken(self) -> tuple[FamilyMismatch, ...]:
        """Families beyond the bound, the worst first."""
        beyond = [family for family in self.families if family.share_of_vectors > self.bound]
        return tuple(sorted(beyond, key=lambda family: -family.share_of_vectors))

    @property
    def groups(self) -> tuple[tuple[str, tuple[FamilyMismatch, ...]], ...]:
        """Title and families of the page's two tables."""
        ranking, catalogue = [], []
        for family in self.families:
            (ranking if family.family.startswith(RANKING) else catalogue).append(family)
        return (
            ("What the ranker read, in sampled requests", tuple(ranking)),
            ("The catalogue's families in the online store", tuple(catalogue)),
        )

    @property
    def judged(self) -> int:
        """Vectors that were judged, all families together."""
        return sum(family.judged for family in self.families)

    @property
    def passed(self) -> bool:
        """No family is beyond the bound."""
        return not self.broken

    def require(self) -> None:
        """Raise ServedFeaturesDiffer, naming family and worst feature, where a family is beyond the bound."""
        if self.broken:
            lines = "\n".join(family.headline for family in self.broken)
            raise ServedFeaturesDiffer(f"beyond the bound of {self.bound:.1%} of a family's served vectors:\n{lines}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for artifacts."""
        return {
            "at": self.at.isoformat(),
            "label": self.label,
            "bound": self.bound,
            "passed": self.passed,
            "judged": self.judged,
            "left_out": list(self.left_out),
            "families": [family.to_dict() for family in self.families],
        }


def write_report(report: ConsistencyReport, folder: Path) -> Path:
    """Write `folder/latest.json` and `folder/index.html`; returns the page."""
    with replace_atomically(folder / LATEST) as temporary:
        temporary.write_text(json.dumps(report.to_dict(), indent=2), encoding="utf-8")
    with replace_atomically(folder / PAGE) as temporary:
        temporary.write_text(render_page(Path(__file__).parent / "page.html", report=report), encoding="utf-8")
    return folder / PAGE


def latest_report(folder: Path) -> dict[str, Any] | None:
    """What the last run found, as `ConsistencyReport.to_dict`; None before the first."""
    file = folder / LATEST
    return json.loads(file.read_text()) if file.exists() else None
