"""A dataset's own actions by the names that its mapping declared, each with the action of the contract that stands for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from feature_repo.heads import OWN_SLOTS
from feature_repo.ids.id_table import IdTable

NO_OWN_ACTIONS: Mapping[str, str] = MappingProxyType({})
_SLOT = re.compile(f"(?<![A-Za-z0-9])({'|'.join(slot for slots in OWN_SLOTS.values() for slot in slots)})(?![A-Za-z0-9])")


def slots_by_name(table: IdTable) -> dict[str, str]:
    """Name -> `own_1` to `own_8`; ingestion gives the names of each role their codes in the order of its slots."""
    return {
        name: slot
        for role, slots in OWN_SLOTS.items()
        for name, slot in zip(table.all_names(f"own_action:{role.value}"), slots, strict=False)
    }


def with_own_names(text: str, own_actions: Mapping[str, str]) -> str:
    """`text`, such as a head, a column or a sentence, with every slot called by the own action that takes it.

    own_actions: see `slots_by_name`. A slot that no action takes stays as it is.
    """
    names = {slot: name for name, slot in own_actions.items()}
    return _SLOT.sub(lambda found: names.get(found[0], found[0]), text)
