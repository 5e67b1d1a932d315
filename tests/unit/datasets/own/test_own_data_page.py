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
    Mapping,
    PostColumn,
    PostsMapping,
    UserColumn,
    UsersMapping,
)

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "own-data.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_mapping_on_the_page_is_a_mapping(block: str) -> None:
    Mapping.model_validate(yaml.safe_load(block))


def test_every_key_column_and_action_is_on_the_page() -> None:
    keys = {key for part in (Mapping, EventsMapping, PostsMapping, UsersMapping, EdgesMapping) for key in part.model_fields}
    missing = {key for key in keys if f"{key}:" not in PAGE}
    assert missing == set()
    columns = {name for kind in (EventColumn, PostColumn, UserColumn, EdgeColumn) for name in get_args(kind)}
    assert {name for name in {*columns, *NAMED_ACTIONS} if f"`{name}`" not in PAGE} == set()


def test_every_key_says_what_it_is() -> None:
    for part in (EventsMapping, PostsMapping, UsersMapping, EdgesMapping):
        assert [name for name, field in part.model_fields.items() if not field.description] == []
