"""`mixer features quality`: the last figures of the feature quality report, or new ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.settings import apply_environment, get_settings


def quality_figures(again: bool) -> tuple[dict[str, Any], Path]:
    """The figures and the page; judged anew where asked for, or where there are none. Raises as the flow does."""
    from monitoring.feature_quality.report import FOLDER, LATEST, PAGE

    folder = get_settings().paths.reports / FOLDER
    if again or not (folder / LATEST).exists():
        apply_environment()
        from flows.feature_quality import feature_quality_flow

        feature_quality_flow()
    return json.loads((folder / LATEST).read_text()), folder / PAGE
