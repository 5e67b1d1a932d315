"""The quality report as files: figures and every feature as JSON, and the page for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from infra.storage import replace_atomically
from monitoring.feature_quality.importance import RANKED_HEADS
from monitoring.feature_quality.quality import FamilyQuality
from monitoring.report_page import render_page

FOLDER, LATEST, FEATURES, PAGE = "feature_quality", "latest.json", "features.json", "index.html"  # FOLDER: under the reports
GROUPS_SHOWN = 40


@dataclass(frozen=True)
class QualityReport:
    """What one run found about all families."""

    at: datetime
    label: str  # of the dataset
    impressions: int
    reference_days: tuple[date, ...]
    window_days: tuple[date, ...]
    families: tuple[FamilyQuality, ...]

    @property
    def features(self) -> int:
        return sum(len(family.features) for family in self.families)

    @property
    def duplicate_groups(self) -> list[tuple[str, list[str]]]:
        """(first feature, those that say the same), the largest group first."""
        groups: dict[str, list[str]] = {}
        for family in self.families:
            for one in family.duplicates:
                groups.setdefault(str(one.same_as), []).append(one.name)
        return sorted(groups.items(), key=lambda group: -len(group[1]))

    def count(self, what: str) -> int:
        """How many features of all families are `unused`, `duplicates`, `constant` or `drifted`."""
        return sum(len(getattr(family, what)) for family in self.families)

    def to_dict(self) -> dict[str, Any]:
        """The figures, without single features."""
        return {
            "at": self.at.isoformat(),
            "label": self.label,
            "impressions": self.impressions,
            "reference_days": [str(day) for day in self.reference_days],
            "window_days": [str(day) for day in self.window_days],
            "features": self.features,
            **{what: self.count(what) for what in ("unused", "duplicates", "constant", "drifted")},
            "families": [family.to_dict() for family in self.families],
        }


def write_report(report: QualityReport, folder: Path) -> Path:
    """Write the figures, every feature, and the page under `folder`; returns the page."""
    rows = [row for family in report.families for row in family.feature_rows()]
    for name, content in ((LATEST, report.to_dict()), (FEATURES, rows)):
        with replace_atomically(folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    page = render_page(
        Path(__file__).parent / "page.html",
        report=report,
        heads=f"the {RANKED_HEADS} most common actions",
        most_important=max((family.importance for family in report.families), default=0.0) or 1.0,
        groups_shown=GROUPS_SHOWN,
    )
    with replace_atomically(folder / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / PAGE
