"""The hash chain of the ledger: how an entry is sealed, and what a reader checks. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.releases.route import Route, advance_route
from services.releases.states import ReleaseState, TransitionError, check_transition

GENESIS = "0" * 64  # what the first entry names as the hash before it


@dataclass(frozen=True)
class LedgerEntry:
    """One row: who moved which release to which state, when, why, on what evidence."""

    seq: int
    at: str  # ISO 8601, UTC
    release_id: str
    state: ReleaseState
    percent: float | None
    actor: str
    reason: str
    previous_hash: str
    hash: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def canonical(value: Mapping[str, Any]) -> str:
    """JSON text with sorted keys and no spaces; raises ValueError on NaN or an object JSON does not know."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"evidence is not JSON ({error}); give finite numbers, text, lists and objects") from error


def seal(
    seq: int,
    at: str,
    release_id: str,
    state: str,
    percent: float | None,
    actor: str,
    reason: str,
    evidence: str,
    previous_hash: str,
) -> str:
    """SHA-256 (hex) over every field of an entry and the hash before it. `evidence` is its canonical JSON text."""
    text = json.dumps([seq, at, release_id, state, percent, actor, reason, evidence, previous_hash], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def chain_problems(entries: Iterable[LedgerEntry]) -> list[str]:
    """What is wrong with the entries as a chain: gaps, broken links, changed fields. Empty when nothing is."""
    problems: list[str] = []
    expected_seq, previous_hash = 1, GENESIS
    for entry in entries:
        if entry.seq != expected_seq:
            problems.append(f"entry {expected_seq} is missing: the next one found is {entry.seq}")
        if entry.previous_hash != previous_hash:
            problems.append(f"entry {entry.seq} does not follow from the entry before it: its link is broken")
        sealed = seal(
            entry.seq,
            entry.at,
            entry.release_id,
            entry.state,
            entry.percent,
            entry.actor,
            entry.reason,
            canonical(entry.evidence),
            entry.previous_hash,
        )
        if sealed != entry.hash:
            problems.append(
                f"entry {entry.seq} ({entry.release_id} {entry.state}) was changed: its hash does not fit its content"
            )
        expected_seq, previous_hash = entry.seq + 1, entry.hash
    return problems


def replayed_route(entries: Iterable[LedgerEntry]) -> tuple[Route, list[str]]:
    """The route that the entries lead to, and every entry that broke the law of transitions on the way."""
    route, states, problems = Route(), {}, []
    for entry in entries:
        current = states.get(entry.release_id)
        if current is None:
            if entry.state is not ReleaseState.BUILT:
                problems.append(f"entry {entry.seq}: {entry.release_id} appears as {entry.state} before it was built")
        else:
            try:
                check_transition(entry.release_id, current, entry.state, live=route.live, percent=entry.percent)
            except TransitionError as error:
                problems.append(f"entry {entry.seq}: {error}")
        states[entry.release_id] = entry.state
        route = advance_route(route, entry.release_id, entry.state, entry.percent)
    return route, problems
