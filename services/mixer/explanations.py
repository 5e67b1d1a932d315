"""Why a post is on a timeline or is not, read from the trace of a request that was run for the purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.engine import Result
from services.mixer.reasons import reasons
from services.mixer.shown_heads import ShownHeads
from services.ranking.weights import WeightPreset, contributions

if TYPE_CHECKING:
    from services.mixer.runtime import MixerRuntime

SCORE_COLUMNS = ("light_score", "weighted_score", "diversity_factor", "score")

# What a rule means to a person; a rule that is not here is named as it is.
RULE_WORDS = {
    "known_posts": "The platform knows nothing about this post yet.",
    "unpublished_posts": "It was published after the moment of this request.",
    "own_posts": "It is your own post.",
    "seen_posts": "You have seen it already.",
    "muted_authors": "You muted its author, or your mutes could not be read.",
    "blocked_authors": "You blocked its author or its author blocked you, or blocks could not be read.",
    "light_cut": "Its first, cheap score was not among the best, so the full ranker did not look at it.",
    "author_cap": "Better posts of the same author already fill that author's share of the page.",
}


def explain_page(runtime: MixerRuntime, result: Result) -> list[dict]:
    """An explanation of every post of the page; see PostExplanation."""
    why = reasons(result.query, result.page, runtime.graph, runtime.shown_heads)
    shown = runtime.ids.shown("post", result.page.post_id)
    return [_of_row(runtime, result, result.page, row, "selected", [why[row]], shown[row]) for row in range(len(result.page))]


def explain_post(runtime: MixerRuntime, result: Result, post: str | int, scored: Result | None = None) -> dict:
    """An explanation of one post, shown or not.

    post: as the request gave it. scored: the post's own scoring, used where no source proposed it, to say how it would have
    fared.
    """
    post_id, shown = runtime.ids.known("post", [post])[0], runtime.ids.as_written("post", post)
    row = np.flatnonzero(result.page.post_id == post_id)
    if len(row):
        why = reasons(result.query, result.page.take(row), runtime.graph, runtime.shown_heads)
        return _of_row(runtime, result, result.page, int(row[0]), "selected", why, shown)
    ordinals = np.flatnonzero(result.trace.proposed.post_id == post_id)
    if not len(ordinals):
        return _not_proposed(runtime, result, shown, scored)
    ordinal = int(ordinals[0])  # the first proposal is the one that the duplicates rule kept
    stage, last = result.trace.last_columns(ordinal)
    fate = result.trace.fate_of(ordinal)
    if fate == "reserve":
        why = [
            f"It ranked below the {len(result.page)} posts of the page.",
            *reasons(result.query, last, runtime.graph, runtime.shown_heads),
        ]
    else:
        why = [RULE_WORDS.get(fate, f"The rule {fate} removed it.")]
    outcome, rule = ("reserve", None) if fate == "reserve" else ("removed", fate)
    return {**_of_row(runtime, result, last, 0, outcome, why, shown), "rule": rule, "stage": stage}


def _of_row(
    runtime: MixerRuntime, result: Result, candidates: Candidates, row: int, outcome: str, why: list[str], post_id: str | int
) -> dict:
    mask = int(candidates["source_mask"][row])
    return {
        "post_id": post_id,
        "outcome": outcome,
        "rule": None,
        "stage": None,
        "position": row if outcome == "selected" else None,
        "sources": [name for bit, name in enumerate(candidates.source_names) if mask >> bit & 1],
        "why": why,
        "scores": {name: float(candidates[name][row]) for name in SCORE_COLUMNS if name in candidates.columns},
        "heads": head_contributions(candidates, row, result.query.preset, runtime.shown_heads),
    }


def _not_proposed(runtime: MixerRuntime, result: Result, post_id: str | int, scored: Result | None) -> dict:
    why = [f"None of the sources ({', '.join(result.trace.proposed.source_names)}) proposed it for you."]
    scores, heads = {}, []
    if scored is not None and len(scored.page):
        scores = {"score": float(scored.page["score"][0])}
        heads = head_contributions(scored.page, 0, scored.query.preset, runtime.shown_heads)
        last = f"; the last post of the page has {result.page['score'][-1]:.4f}" if len(result.page) else ""
        why.append(f"Had it been proposed, its score would have been {scores['score']:.4f}{last}.")
    elif scored is not None:
        why.append(RULE_WORDS["known_posts"])
    explanation = {"post_id": post_id, "outcome": "not_proposed", "rule": None, "stage": "sources", "position": None}
    return {**explanation, "sources": [], "why": why, "scores": scores, "heads": heads}


def head_contributions(candidates: Candidates, row: int, preset: WeightPreset, heads: ShownHeads) -> list[dict]:
    """What each head adds to the candidate's weighted sum, largest first; empty where the heavy ranker did not run."""
    if "predictions" not in candidates.columns:
        return []
    probabilities = np.asarray(candidates["predictions"])[row : row + 1]
    added = contributions(probabilities, preset)[0]
    weights = preset.vector()
    return [
        {
            "head": heads.names[index],
            "probability": float(probabilities[0, heads.places[index]]),
            "weight": float(weights[heads.places[index]]),
            "contribution": float(added[heads.places[index]]),
        }
        for index in heads.largest(added)
    ]
