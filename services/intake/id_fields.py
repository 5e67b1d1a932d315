"""Fields of requests that hold ids: whole numbers or text, kept as they were sent."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from feature_repo.ids import MOST_ID_CHARACTERS, IdError
from feature_repo.ids.id_texts import id_text, is_unicode

_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # numbers that every JSON reader of the platform reads alike
_ID_SCHEMA = {"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": MOST_ID_CHARACTERS}]}


def checked_id(value: Any) -> str | int:
    """`value` where it is an id; ValueError says why it is none."""
    if type(value) is int and not _LEAST <= value <= _MOST:
        raise ValueError("a number beyond 64 bits is no id; write it as text")
    try:
        id_text(value, "id")
    except IdError as error:
        raise ValueError(str(error).removeprefix("id: ")) from error
    return value


def checked_ids(values: Any, most: int, least: int = 0) -> list[str | int]:
    """`values` where it is a list of `least` to `most` ids; ValueError names the place of the first that is none."""
    if not isinstance(values, list):
        raise ValueError("give a list of ids")
    if not least <= len(values) <= most:
        allowed = f"{least} to {most:,}" if least else f"at most {most:,}"
        raise ValueError(f"{len(values):,} posts were given; {allowed} are allowed")
    if _all_ids(values):
        return values
    for place, value in enumerate(values):
        try:
            checked_id(value)
        except ValueError as error:
            raise ValueError(f"at place {place}: {error}") from error
    return values


def _all_ids(values: list) -> bool:
    """Whether all are ids, found without a look at each; False where that takes one."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return min(values) >= _LEAST and max(values) <= _MOST
    if kinds == {str}:
        together = "".join(values)
        longest = max(map(len, values))
        # `str.strip` of a blank text is empty, which counts as false.
        return is_unicode(together) and "\0" not in together and longest <= MOST_ID_CHARACTERS and all(map(str.strip, values))
    return not values


def id_list(most: int, least: int = 0) -> Any:
    """The type of a field that holds a list of ids."""
    schema = {"type": "array", "items": _ID_SCHEMA, "minItems": least, "maxItems": most}
    return Annotated[list, PlainValidator(lambda values: checked_ids(values, most, least)), WithJsonSchema(schema)]


ClientId = Annotated[str | int, PlainValidator(checked_id), WithJsonSchema(_ID_SCHEMA)]
ShownId = Annotated[int | str, Field(description="In the form in which the platform was given its ids: a number or text.")]
