"""Lists of words that a server is asked for: the schema of an answer, and the check of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("human", "animal", "vehicle", "object", "logo", "background")
COUNTS = ("one", "many")
WORD: dict[str, Any] = {
    "phrase": {"type": "string"},
    "word": {"type": "string"},
    "kind": {"type": "string", "enum": list(KINDS)},
    "count": {"type": "string", "enum": list(COUNTS)},
}
"""What is asked of each word, and how an answer has it."""


def schema_of(name: str, **more: Any) -> dict[str, Any]:
    """The JSON schema of an object whose field `name` is a list of words, with more fields each."""
    word = object_of(WORD | more)
    return object_of({name: {"type": "array", "items": word}})


def object_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object that has these fields and no other."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(fields),
        "properties": dict(fields),
    }


def listed(answer: Any, name: str, most: int) -> list[Mapping[str, Any]]:
    """The first words of an answer in that schema, whose further fields are not looked at.

    Raises:
        ValueError: it is of another form.
    """
    found = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise ValueError(f"{name} must be a list")
    for one in found[:most]:
        if not isinstance(one, Mapping) or not all(isinstance(one.get(k), str) for k in WORD):
            raise ValueError(f"each of {name} must have {', '.join(WORD)}, all of them text")
        if one["kind"] not in KINDS or one["count"] not in COUNTS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; count one or many")
    return found[:most]
