"""The Data Docs page: every table and rule on one self-contained page, and GX's own site made readable without a network."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

from infra.storage import replace_atomically
from monitoring.expectations.report import ValidationReport

# Styles for the class names that GX's pages use; its own come from six outside hosts.
OFFLINE_STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1rem;color:#1d2733;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border-bottom:1px solid #d9e0e7;padding:.4rem .6rem;
text-align:left;vertical-align:top}a{color:#0b62c4}
.navbar,.ge-navbar,footer,.fixed-bottom,.sticky-bottom,.cooltip,.modal,.fa-exclamation-circle{display:none}ul{padding-left:1.2rem}
.badge{background:#e9eef4;border-radius:4px;padding:0 .35rem;font-family:ui-monospace,monospace;font-size:.9em}
.text-success{color:#12703a}.text-danger{color:#b3261e}.alert-danger{background:#fdecea}.alert-success{background:#e7f6ec}
.fa-check-circle:before{content:"\\2713"}.fa-times:before,.fa-times-circle:before{content:"\\2717"}img{max-width:180px}
@media(prefers-color-scheme:dark){body{color:#e4eaf0;background:#12171d}td,th{border-color:#2d3742}a{color:#7ab8ff}
.badge{background:#26303a}.alert-danger{background:#3a1d1b}.alert-success{background:#16301f}}</style>"""

_REMOTE_IMAGE = re.compile(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)", re.IGNORECASE)
_REMOTE_TAG = re.compile(
    r"<script[^>]*\bsrc\s*=\s*[\"']?(?:https?:)?//[^>]*>\s*(?:</script>)?"
    r"|<link[^>]*\bhref\s*=\s*[\"']?(?:https?:)?//[^>]*>"
    r"|<img[^>]*\bsrc\s*=\s*[\"']?(?:https?:)?//[^>]*>",
    re.IGNORECASE | re.DOTALL,
)


def write_data_docs(report: ValidationReport, folder: Path, *, label: str, at: datetime) -> Path:
    """Write `folder/index.html` and `folder/results.json`, and free GX's site there from other hosts; returns the page."""
    site = folder / "great_expectations"
    for page in site.rglob("*.html"):
        page.write_text(without_remote_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    ).get_template("data_docs.html")
    with replace_atomically(folder / "index.html") as temporary:
        temporary.write_text(
            template.render(report=report, label=label, at=at, details=latest_details(site), sample=_quarantine_sample(report)),
            encoding="utf-8",
        )
    with replace_atomically(folder / "results.json") as temporary:
        temporary.write_text(json.dumps({"at": at.isoformat(), "label": label, **report.summary()}, indent=2), encoding="utf-8")
    return folder / "index.html"


def without_remote_parts(html: str) -> str:
    """`html` without tags that load from another host, with styles of its own."""
    local = _REMOTE_IMAGE.sub("none", _REMOTE_TAG.sub("", html))
    return local.replace("</head>", f"{OFFLINE_STYLE}</head>", 1)


def latest_details(site: Path) -> dict[str, str]:
    """Per table, the path of GX's newest validation page relative to the folder that holds `site`."""
    pages: dict[str, str] = {}
    for folder in sorted(site.glob("validations/*")):
        newest = max(folder.rglob("*.html"), key=lambda page: page.parent.name, default=None)
        if newest is not None:
            pages[folder.name] = newest.relative_to(site.parent).as_posix()
    return pages


def _quarantine_sample(report: ValidationReport, rows: int = 5) -> dict[str, list[dict[str, object]]]:
    return {
        name: report.named(split.quarantined.head(rows)).to_dicts()
        for name, split in report.splits.items()
        if split.quarantined.height
    }
