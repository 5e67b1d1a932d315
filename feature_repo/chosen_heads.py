"""The heads that the settings name, instead of those that counts would choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_repo.heads import HEADS
from infra.settings import Settings

DECIDING, SHOWN = "MIXER_DECIDING_HEADS", "MIXER_SHOWN_HEADS"


class HeadError(ValueError):
    """A setting names a head that is none, or that the data do not teach; the message says which and what there is."""


def deciding_heads(settings: Settings) -> tuple[str, ...]:
    """The heads that are to gate, judge and stand in the headline; none where the commonest do. Raises HeadError."""
    if not settings.deciding_heads:
        return ()
    from feature_repo.ids import IdTable
    from feature_repo.ids.own_actions import slots_by_name

    return named_heads(settings.deciding_heads, slots_by_name(IdTable(settings.platform_database_url)), DECIDING)


def named_heads(names: Sequence[str], own_actions: Mapping[str, str], setting: str) -> tuple[str, ...]:
    """The heads that `setting` calls by these names, each once; a dataset's own actions go by their own. Raises HeadError."""
    heads = {head: head for head in HEADS} | dict(own_actions)
    for name in names:
        if name not in heads:
            there = [head for head in HEADS if not head.startswith("own_")] + list(own_actions)
            raise HeadError(f"{setting} names {name!r}, which is no action that models learn; there are {', '.join(there)}")
    return tuple(dict.fromkeys(heads[name] for name in names))


def check_trained(names: Sequence[str], trained: Sequence[str], positives: Mapping[str, int], least: int) -> None:
    """Raise HeadError unless the heads that are to decide are among the `trained` ones; `positives`: exposures by head."""
    for head in names:
        if head not in trained:
            raise HeadError(
                f"{DECIDING} names {head}, which followed {positives[head]:,} of the exposures to learn from; MIXER_HEADS_LEAST"
                f" asks for {least:,} with and {least:,} without it; trained are {', '.join(trained) or 'none'}"
            )
