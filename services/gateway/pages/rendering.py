"""Templates to responses: everything is HTML-escaped, and the policy header lets a page load from this door only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from monitoring.canary.amounts import seen
from monitoring.canary.policy import MetricPolicy
from monitoring.canary.verdict import MetricResult

FOLDER = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

STATE_WORDS = {
    "built": "built",
    "shadow": "in shadow",
    "canary": "canary",
    "awaiting_approval": "waits for a yes",
    "live": "live",
    "retired": "retired",
    "rolled_back": "rolled back",
}


def page(template: str, context: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """Render `template` with `context`; a name that the template uses and nobody gave is an error."""
    return HTMLResponse(rendered(template, context), status, HEADERS)


def rendered(template: str, context: Mapping[str, Any]) -> str:
    """`template` with `context`, every value escaped for HTML and XML."""
    return _ENVIRONMENT.get_template(template).render(context)


def moment(value: str | datetime) -> str:
    """`3 May 2022, 21:14:07` in UTC."""
    at = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M:%S}"


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading: thousands parted by thin spaces, or a dash for none."""
    if value is None or value != value:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share (0..1) as percent."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def in_unit(value: float | None, unit: str) -> str:
    """A metric's value in its unit."""
    if unit == "share":
        return percent(value, 2 if value is not None and value < 0.1 else 1)
    return f"{number(value)} ms" if unit == "ms" else number(value, 4)


def sees(metric: MetricResult) -> str:
    """The smallest worsening that a metric would have shown, in words; nothing for a look that did not say."""
    return f"sees {seen(metric)}" if math.isfinite(metric.detectable) else ""


def tolerance(metric: MetricPolicy) -> str:
    """The worsening that a policy tolerates, in words."""
    if metric.scale == "ratio":
        return f"up to {metric.margin:g} times the live release's"
    side = "more" if metric.better == "lower" else "less"
    if metric.scale == "relative":
        return f"up to {100 * metric.margin:g} % {side}"
    return f"up to {100 * metric.margin:g} points {side}"


def sentence(text: str) -> str:
    """`text` with its first letter in upper case and no underscores."""
    words = text.replace("_", " ")
    return words[:1].upper() + words[1:]


def readable_json(value: Any) -> str:
    """Indented JSON, for evidence in a details box."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        moment=moment,
        in_unit=in_unit,
        sentence=sentence,
        number=number,
        percent=percent,
        readable_json=readable_json,
        sees=sees,
        tolerance=tolerance,
    )
    environment.filters.update(sees=sees, tolerance=tolerance)
    environment.globals.update(state_words=STATE_WORDS)
    return environment


_ENVIRONMENT = _environment()
