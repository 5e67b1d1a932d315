"""Report pages that stand alone: one file with its styles inside, in light and dark, and nothing from another host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

STYLE = Path(__file__).with_name("report_style.css")


def render_page(template: Path, **context: Any) -> str:
    """The page of a template, which finds the sheet as `style` and may use the filters number, percent and moment."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, moment=lambda at: f"{at:%Y-%m-%d %H:%M:%S} UTC")
    sheet = Markup(STYLE.read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment.get_template(template.name).render(style=sheet, **context)


def number(value: float | None, digits: int = 4) -> str:
    """A number for reading: thousands parted, or a dash for none."""
    if value is None or value != value:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}g}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share (0..1) as percent."""
    return "–" if share is None or share != share else f"{share * 100:.{digits}f} %"
