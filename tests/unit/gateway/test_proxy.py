"""Whose request it is, read from its body."""

from __future__ import annotations

import pytest

from services.gateway.errors import DoorError
from services.gateway.proxy import NOBODY, asked_of
from services.gateway.shadow import overlap


@pytest.mark.parametrize(
    ("body", "user_id"),
    [
        (b'{"user_id": 0}', "0"),
        (b'{"count": 3, "user_id": 17}', "17"),
        (b'{"user_id": "17"}', "17"),
        (b'{"user_id": "017"}', "017"),
        (b'{"user_id": -1}', "-1"),
        (b'{"user_id": 9223372036854775807}', "9223372036854775807"),
        (b'{"user_id": 18446744073709551615}', "18446744073709551615"),
        ('{"user_id": "ü/7"}'.encode(), "ü/7"),
        (b'{"events": [{"user_id": 4}, {"user_id": 5}]}', "4"),
        (b'{"events": [{"user_id": "ada"}]}', "ada"),
        (b'{"events": [{"user_id": " "}, null, {}, {"user_id": 5}]}', "5"),
        (b'{"events": ["x"]}', NOBODY),
    ],
)
def test_the_user_is_read_from_the_body(body, user_id):
    assert asked_of(body).user == user_id


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[1]", "not_an_object"),
        (b"7", "not_an_object"),
        (b"{}", "user_id_invalid"),
        (b'{"user_id": null}', "user_id_invalid"),
        (b'{"user_id": ""}', "user_id_invalid"),
        (b'{"user_id": " "}', "user_id_invalid"),
        (b'{"user_id": true}', "user_id_invalid"),
        (b'{"user_id": 1.5}', "user_id_invalid"),
        (b'{"user_id": 99999999999999999999}', "user_id_invalid"),
        (b'{"events": []}', "user_id_invalid"),
    ],
)
def test_a_body_without_a_user_is_refused_with_a_remedy(body, code):
    with pytest.raises(DoorError) as refused:
        asked_of(body)
    assert refused.value.code == code
    assert refused.value.remedy


def test_the_overlap_is_the_share_of_the_live_posts_that_the_shadow_shows_too():
    live, shadow = b'{"posts": [{"post_id": 1}, {"post_id": 2}]}', b'{"posts": [{"post_id": 2}, {"post_id": 9}]}'
    assert overlap(live, shadow) == 0.5
    assert overlap(b'{"posts": []}', shadow) is None
