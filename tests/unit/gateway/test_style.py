"""The pages can be read: text meets WCAG AA (4.5 : 1) on every ground it stands on, in light and in dark."""

from __future__ import annotations

import re

import pytest

from services.gateway.pages.rendering import FOLDER

SHEET = (FOLDER / "style.css").read_text()
GROUNDS = {
    "ink": ["ground", "card", "sunk", "neutral-soft"],
    "quiet": ["ground", "card", "sunk", "neutral-soft"],
    "live": ["card", "live-soft"],
    "canary": ["card", "canary-soft"],
    "harm": ["card", "ground", "harm-soft"],
    "accent": ["card", "ground", "accent-soft"],
    "card": ["live", "ink"],  # text on the main button and on the chosen chip
}


def palette(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


LIGHT = palette(SHEET[: SHEET.index("@media")])
DARK = palette(SHEET[SHEET.index("@media") : SHEET.index("* { box-sizing")])


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_knows_black_on_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [(text, ground) for text, grounds in GROUNDS.items() for ground in grounds])
def test_text_stands_out(scheme, text, ground):
    assert contrast(scheme[text], scheme[ground]) >= 4.5


def test_motion_stops_for_those_who_ask():
    assert "prefers-reduced-motion: reduce" in SHEET
