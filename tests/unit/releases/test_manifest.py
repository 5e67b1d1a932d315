"""A manifest is what its content is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.unit.releases.made_releases import manifest


def test_equal_content_has_one_hash_and_other_content_another():
    assert manifest("r1").content_hash == manifest("r1", created_at="2022-05-03T14:00:00+02:00").content_hash
    assert manifest("r1").content_hash != manifest("r1", weight_preset="retention").content_hash


def test_a_manifest_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        manifest("r1").bento_tag = "other:tag"


@pytest.mark.parametrize("name", ["", "r 1", "../r1", "r1\n", "-r1", "r" * 65, "<script>"])
def test_a_release_id_is_a_plain_name(name):
    with pytest.raises(ValidationError, match="release_id"):
        manifest(name)
