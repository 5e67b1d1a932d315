"""A dataset's own actions by the names that its mapping declared, each with the action of the contract that stands for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import inspect, make_url

from feature_repo.heads import OWN_SLOTS
from feature_repo.ids.id_table import IdTable
from feature_repo.ids.name_codes import all_names
from feature_repo.ids.tables import NAME_CODES
from infra.database import open_engine
from infra.sqlite_url import file_of

NO_OWN_ACTIONS: Mapping[str, str] = MappingProxyType({})
_SLOT = re.compile(f"(?<![A-Za-z0-9])({'|'.join(slot for slots in OWN_SLOTS.values() for slot in slots)})(?![A-Za-z0-9])")


def slots_by_name(table: IdTable) -> dict[str, str]:
    """Own action name -> its slot, `own_1` to `own_8`: the name with code k has the k-th slot of its role."""
    return {
        name: slot
        for role, slots in OWN_SLOTS.items()
        for name, slot in zip(table.all_names(f"own_action:{role.value}"), slots, strict=False)
    }


def held_names(database_url: str) -> dict[str, list[str]]:
    """The names of each role in the order of its slots, as the database holds them; where there is none, none is made."""
    parsed = make_url(database_url)
    if parsed.get_backend_name() == "sqlite" and not file_of(parsed.database).exists():
        return {}
    engine = open_engine(database_url)
    if not inspect(engine).has_table(NAME_CODES.name):
        return {}
    return {role.value: all_names(engine, f"own_action:{role.value}") for role in OWN_SLOTS}


def with_own_names(text: str, own_actions: Mapping[str, str]) -> str:
    """`text`, such as a head, a column or a sentence, with every slot called by the own action that takes it.

    own_actions: see `slots_by_name`. A slot that no action takes stays as it is.
    """
    names = {slot: name for name, slot in own_actions.items()}
    return _SLOT.sub(lambda found: names.get(found[0], found[0]), text)
