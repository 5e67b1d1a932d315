"""Decisions kept on disk: `latest.json` for pages, `history.jsonl` for the k-of-n rule."""

from __future__ import annotations

import json
from pathlib import Path

from infra.storage import replace_atomically
from monitoring.drift.verdict import DriftDecision


def keep_decision(folder: Path, decision: DriftDecision, *, report: str | None = None) -> None:
    """Make `decision` the latest and append it to the history; `report` is its page, relative to `folder`.

    Keeping a decision of the same label and moment again replaces it, so a resumed flow counts a window once.
    """
    history = [
        kept
        for kept in load_history(folder)
        if (kept.label, kept.at, kept.planted) != (decision.label, decision.at, decision.planted)
    ]
    lines = [json.dumps(kept.to_dict()) for kept in [*history, decision]]
    with replace_atomically(folder / "history.jsonl") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with replace_atomically(folder / "latest.json") as temporary:
        temporary.write_text(json.dumps({**decision.to_dict(), "report": report}, indent=2), encoding="utf-8")


def load_history(folder: Path) -> list[DriftDecision]:
    """All kept decisions, oldest first; empty where none was kept."""
    file = folder / "history.jsonl"
    if not file.exists():
        return []
    return [DriftDecision.from_dict(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
