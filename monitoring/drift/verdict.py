"""What a drift check found, as values that go to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from feature_repo.ids.own_actions import with_own_names
from monitoring.drift.quality import HeadQuality

Verdict = Literal["ok", "warn", "retrain", "rollback"]


@dataclass(frozen=True)
class ColumnDrift:
    """One column of the window against the reference; see `two_sample.Comparison` for the statistics."""

    name: str
    family: Literal["feature", "score"]
    kind: str
    statistic: float
    p: float
    q: float  # p after false-discovery control over the family
    psi: float
    shift_sigmas: float
    missing_reference: float
    missing_current: float
    drifted: bool  # significant and large
    gross: bool  # drifted beyond the bounds that decide at once


@dataclass(frozen=True)
class HeadDrift:
    """One head's delayed-label quality. `reference` is None where the reference rows carry no prediction for it."""

    head: str
    reference: HeadQuality | None
    current: HeadQuality
    miscalibrated: bool
    degraded: bool
    collapsed: bool
    decides: bool  # False: reported only


@dataclass(frozen=True)
class DriftDecision:
    """The decision on one window. `signals` are its soft signals by name; they decide when they repeat."""

    verdict: Verdict
    at: datetime
    label: str
    planted: str | None  # what was planted, where this window carries a planted fault; such windows never enter a history
    rows_reference: int
    rows_current: int
    columns: tuple[ColumnDrift, ...]
    heads: tuple[HeadDrift, ...]
    signals: tuple[str, ...]
    drifted_share: float  # share of feature columns that drifted, weighted by importance
    reasons: tuple[str, ...]

    @property
    def gross(self) -> tuple[str, ...]:
        """Names of the grossly shifted columns."""
        return tuple(column.name for column in self.columns if column.gross)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinity become None."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=_plain), parse_constant=lambda _: None)

    def in_words(self, own_actions: Mapping[str, str]) -> DriftDecision:
        """The same decision with the names of `own_actions` in its reasons. Columns and signals keep theirs, to be compared."""
        return dataclasses.replace(self, reasons=tuple(with_own_names(reason, own_actions) for reason in self.reasons))

    @staticmethod
    def from_dict(content: dict[str, Any]) -> DriftDecision:
        """The inverse of `to_dict`; a None number becomes NaN."""
        values = dict(content)
        values["at"] = datetime.fromisoformat(values["at"])
        values["columns"] = tuple(_revive(ColumnDrift, column) for column in values["columns"])
        values["heads"] = tuple(_revive_head(head) for head in values["heads"])
        values["signals"], values["reasons"] = tuple(values["signals"]), tuple(values["reasons"])
        return DriftDecision(**values)


def _revive(kind: type, content: dict[str, Any]) -> Any:
    return kind(**{name: float("nan") if value is None else value for name, value in content.items()})


def _revive_head(content: dict[str, Any]) -> HeadDrift:
    reference = content["reference"]
    return HeadDrift(
        **{
            **content,
            "reference": None if reference is None else _revive(HeadQuality, reference),
            "current": _revive(HeadQuality, content["current"]),
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
