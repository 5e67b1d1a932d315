"""docs/own-data.md names every key of a mapping, every column and every action, and its mapping is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from feature_repo.datasets.own.mapping import (
    NAMED_ACTIONS,
    EdgeColumn,
    EdgesMapping,
    EventColumn,
    EventsMapping,
    FilesMapping,
    Mapping,
    PostColumn,
    PostsMapping,
    UserColumn,
    UsersMapping,
)

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "own-data.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

PARTS = {"events": EventsMapping, "posts": PostsMapping, "users": UsersMapping, "edges": EdgesMapping}


def keys_of(part: type) -> set[str]:
    """The keys that the page's mappings give to `part`."""
    whole = [yaml.safe_load(block) for block in BLOCKS]
    name = next((name for name, kind in PARTS.items() if kind is part), None)
    return {key for block in whole for key in (block if name is None else block.get(name, {}))}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_mapping_on_the_page_is_a_mapping(block: str) -> None:
    Mapping.model_validate(yaml.safe_load(block))


def test_every_key_column_and_action_is_on_the_page() -> None:
    of_every_table = set(FilesMapping.model_fields)
    assert of_every_table <= keys_of(EventsMapping)
    for part in (Mapping, *PARTS.values()):
        assert set(part.model_fields) - of_every_table - keys_of(part) == set(), part.__name__
    columns = {name for kind in (EventColumn, PostColumn, UserColumn, EdgeColumn) for name in get_args(kind)}
    assert {name for name in {*columns, *NAMED_ACTIONS} if f"`{name}`" not in PAGE} == set()


def test_every_key_says_what_it_is() -> None:
    for part in PARTS.values():
        assert [name for name, field in part.model_fields.items() if not field.description] == []
