"""Why a post is shown, in words that a person understands: where it came from, who stands behind it, what it promises."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.query import Query
from services.mixer.shown_heads import ShownHeads
from services.mixer.social_graph import SocialGraph, Targets
from services.ranking.weights import contributions

NAMED_HEADS = 2  # how many predicted actions a reason mentions


def reasons(query: Query, candidates: Candidates, graph: SocialGraph, heads: ShownHeads) -> list[str]:
    """One sentence or two for each candidate (n strings): its source, social proof, and what weighed most in its score."""
    origins = _origins(query, candidates, graph)
    if "predictions" not in candidates.columns:
        return origins
    predictions = np.asarray(candidates["predictions"])
    added = contributions(predictions, query.preset)
    return [f"{origin} {_promise(p, c, heads)}" for origin, p, c in zip(origins, predictions, added, strict=True)]


def _origins(query: Query, candidates: Candidates, graph: SocialGraph) -> list[str]:
    following: Targets = query.features.get("following") or Targets.none()
    user = query.features.get("user")
    is_new = user is not None and not user.known
    proposers = [_names(candidates, row) for row in range(len(candidates))]
    return [
        _origin(names, int(author), following, graph, is_new)
        for names, author in zip(proposers, candidates.author_id, strict=True)
    ]


def _names(candidates: Candidates, row: int) -> set[str]:
    mask = int(candidates["source_mask"][row])
    return {name for bit, name in enumerate(candidates.source_names) if mask >> bit & 1}


def _origin(names: set[str], author_id: int, following: Targets, graph: SocialGraph, is_new: bool) -> str:
    at = np.flatnonzero(following.ids == author_id)
    if "in_network" in names and len(at):
        inferred = " (inferred from what you did with their posts)" if following.derived[at[0]] else ""
        return f"You follow this author{inferred}."
    also = graph.followers_among(following, author_id)
    social = f" {also} of the accounts you follow follow{'s' * (also == 1)} this author." if also else ""
    if is_new:
        return f"Popular with everyone: we do not know your taste yet.{social}"
    if "two_tower" in names and "popular" in names:
        return f"Similar to what you engaged with before, and popular now.{social}"
    if "two_tower" in names:
        return f"Similar to what you engaged with before.{social}"
    if "similar_content" in names:
        return f"Its content is close to that of posts you engaged with.{social}"
    return f"Popular now.{social}"


def _promise(probabilities: np.ndarray, added: np.ndarray, heads: ShownHeads) -> str:
    """The heads that added most to the score, with their probabilities; the largest doubt where nothing speaks for it."""
    speaking = [index for index in heads.largest(np.maximum(added, 0.0)) if added[heads.places[index]] > 0]
    best = speaking[:NAMED_HEADS]
    if not best:
        return "Nothing speaks for it strongly."
    words = [f"{heads.promise(index)} ({probabilities[heads.places[index]]:.0%})" for index in best]
    return f"Ranked by the chance that you {' or '.join(words)}."
