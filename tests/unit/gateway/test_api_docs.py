"""The API's page tells what each field means, those of the listed events too."""

from __future__ import annotations

import orjson

from services.gateway.pages.api_docs import endpoints, own_document


def test_each_field_of_an_event_has_its_meaning_and_unit():
    (found,) = [one for one in endpoints(orjson.loads(own_document()), "http://door/") if one["path"] == "/events"]
    fields = {field["name"]: field for field in found["fields"]}
    assert "milliseconds" in fields["events[].value"]["about"]
    assert "one of impression, click" in fields["events[].action"]["about"]
    assert "from 0" in fields["events[].position"]["about"]
    assert {name for name, field in fields.items() if field["required"]} == {"events", "events[].post_id", "events[].action"}


def test_no_field_of_any_request_is_without_a_meaning():
    found = endpoints(orjson.loads(own_document()), "http://door/")
    assert [(one["path"], field["name"]) for one in found for field in one["fields"] if not field["about"]] == []
