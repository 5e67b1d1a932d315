"""The offline comparison of a trained model with its baselines, kept as JSON and Markdown for people and pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.settings import Settings
from infra.storage import replace_atomically


def training_reports(settings: Settings) -> Path:
    """Folder of the reports, one JSON file per model version, and `latest.json` for the newest champion."""
    return settings.paths.reports / "training"


def keep_report(settings: Settings, version: str, report: dict[str, Any], *, champion: bool) -> None:
    """Keep `report` under the model's version, and as the latest where it is the champion's."""
    names = [f"v{version}.json", *(["latest.json"] if champion else [])]
    for name in names:
        with replace_atomically(training_reports(settings) / name) as temporary:
            temporary.write_text(json.dumps(report, indent=2, default=str))


def read_report(settings: Settings, version: str) -> dict[str, Any]:
    """The report of one model version; raises FileNotFoundError naming what to run."""
    return _read(training_reports(settings) / f"v{version}.json")


def latest_report(settings: Settings) -> dict[str, Any]:
    """The champion's report; raises FileNotFoundError naming what to run."""
    return _read(training_reports(settings) / "latest.json")


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there: nothing was trained yet; run `mixer demo` or `mixer run train`")
    return json.loads(file.read_text())


def report_page(report: dict[str, Any]) -> str:
    """The champion's comparison as Markdown: what was trained and tested on which days, the table, the lead over LightGBM.

    What could not be measured is told in its sentences.
    """
    tested = "not tested"
    if report["test_rows"]:
        tested = (
            f"tested on {report['test_rows']:,} of {report['test_days'][0]} to {report['test_days'][-1]} "
            "(features as of each row, weights frozen)"
        )
    lines = [
        f"{report['dataset']}: trained on {report['train_rows']:,} exposures of {report['train_days'][0]} to "
        f"{report['train_days'][-1]}, {tested}."
    ]
    parts = [report["markdown"], _leads(report), _light(report), _retrieval(report), *report.get("not_measured", ())]
    for part in parts:
        lines += ["", part] if part else []
    return "\n".join(lines)


def _leads(report: dict[str, Any]) -> str:
    leads = "; ".join(
        f"{lead['head']} {lead['difference']:+.4f} [{lead['low']:+.4f}, {lead['high']:+.4f}]"
        for lead in report.get("heavy_minus_lightgbm_auc", ())
    )
    return f"Heavy ranker minus LightGBM, AUC, 95 % interval over resampled users: {leads}." if leads else ""


def _light(report: dict[str, Any]) -> str:
    found = report.get("light_ranker_auc")
    return _survivors(report) if found is None else f"Light ranker: AUC {found:.4f} on any engagement. " + _survivors(report)


def _retrieval(report: dict[str, Any]) -> str:
    if "retrieval" not in report:
        return ""
    shares = "; ".join(
        f"{depth.replace('_at_', '@')} {share:.3f} ({report['retrieval']['popularity'][depth]:.3f})"
        for depth, share in report["retrieval"]["two_tower"].items()
    )
    return f"Retrieval of engaged posts among all, two-tower (most popular): {shares}."


def _survivors(report: dict[str, Any]) -> str:
    """A sentence on the light cut; empty for a report that was made before it was measured."""
    if "light_survival" not in report:
        return ""
    measured = report["light_survival"]
    by_chance = measured["survivors"]["popularity"]
    shares = (f"{cut} {share:.3f} ({by_chance[cut]:.3f})" for cut, share in measured["survivors"]["light ranker"].items())
    return (
        f"Of the heavy ranker's best {measured['best']} among {measured['candidates']:,} candidates, its cut keeps "
        f"(a cut by popularity): to {'; '.join(shares)}."
    )
