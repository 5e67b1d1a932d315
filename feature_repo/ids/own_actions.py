"""A dataset's own actions by the names that its mapping declared, each with the action of the contract that stands for it."""

from __future__ import annotations

from feature_repo.heads import OWN_SLOTS
from feature_repo.ids.id_table import IdTable


def slots_by_name(table: IdTable) -> dict[str, str]:
    """Name -> `own_1` to `own_8`; ingestion gives the names of each role their codes in the order of its slots."""
    return {
        name: slot
        for role, slots in OWN_SLOTS.items()
        for name, slot in zip(table.all_names(f"own_action:{role.value}"), slots, strict=False)
    }
