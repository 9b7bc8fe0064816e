"""Boards as they are while somebody draws them: of the right form, if not yet of sense.

A draft has the fields of a storyboard. Subjects and keyframes may be without a picture and a prompt
empty, and pictures are names in the workspace; what makes a draft a storyboard is checked by
`checking`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from alchemint_jax.documents import describe
from alchemint_jax.scene.checking import MAX_ITEMS, MAX_TEXT
from alchemint_jax.scene.limits import KEYFRAMES
from alchemint_jax.scene.storyboard import MAX_WORD
from alchemint_jax.studio.answers import Refused

Draft = dict[str, Any]
PICTURE = re.compile(r"[0-9a-f]{24}\.png")
_PICTURED = ("subjects", "keyframes")
_ANY = 1e9

Field = Callable[[Any, str], Any]


def draft_of(value: Any) -> Draft:
    """A draft, copied field by field.

    Raises:
        Refused: naming the field that is not of the right form.
    """
    subject = {"word": _text(MAX_WORD), "image": _picture, "appears": _list(_span)}
    keyframe = {"image": _picture, "at": number}
    event = {"text": _text(MAX_TEXT), "during": _span}
    fields: dict[str, Field] = {
        "prompt": _text(MAX_TEXT),
        "duration": number,
        "fps": number,
        "size": _list(whole),
        "seed": whole,
        "negative_prompt": _text(MAX_TEXT),
        **dict.fromkeys(KEYFRAMES, _picture),
        "keyframes": _list(_fields(keyframe, ("at",))),
        "cuts": _list(number),
        "subjects": _list(_fields(subject, ("word", "appears"))),
        "events": _list(_fields(event, ("text", "during"))),
    }
    return dict(_fields(fields, ("prompt", "duration"))(value, "board"))


def pictures_in(draft: Draft) -> list[str]:
    """The names of all pictures of a draft."""
    found = [entry.get("image") for name in _PICTURED for entry in draft.get(name, [])]
    found += [draft.get(name) for name in KEYFRAMES]
    return [name for name in found if name]


def with_pictures(draft: Any, place: Callable[[Any], str | None]) -> Any:
    """The draft with other names of pictures; one that becomes None is left out.

    What is no draft, or not yet known to be one, is left as it is.
    """

    def placed(entry: Any, names: tuple[str, ...]) -> Any:
        if not isinstance(entry, dict):  # of a file that is not yet known to be of the right form
            return entry
        found = {k: place(v) if k in names and v else v for k, v in entry.items()}
        return {k: v for k, v in found.items() if v is not None}

    found = placed(draft, KEYFRAMES)
    for name in _PICTURED:
        if isinstance(draft, dict) and isinstance(draft.get(name), list):
            found[name] = [placed(entry, ("image",)) for entry in draft[name]]
    return found


def number(value: Any, where: str) -> float | int:
    """A number that a file can hold. Raises Refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"{where}: expected a number, got {describe(value)}")
    if not (abs(value) < _ANY and math.isfinite(value)):
        raise Refused(f"{where}: is out of any range")
    return value


def whole(value: Any, where: str, low: int = 0, high: int = 2**32 - 1) -> int:
    """A whole number from `low` to `high`. Raises Refused."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(
            f"{where}: expected a whole number from {low} to {high}, got {describe(value)}"
        )
    return value


def _text(longest: int) -> Field:
    def text(value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise Refused(f"{where}: expected text, got {describe(value)}")
        if len(value) > longest:
            raise Refused(f"{where}: is {len(value)} characters long; {longest} are the most")
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise Refused(f"{where}: holds half a character (a lone surrogate)")
        return value

    return text


def _picture(value: Any, where: str) -> str:
    if not isinstance(value, str) or not PICTURE.fullmatch(value):
        raise Refused(f"{where}: expected the name of a picture that was uploaded")
    return value


def _span(value: Any, where: str) -> list[float | int]:
    if not isinstance(value, list) or len(value) != 2:
        raise Refused(f"{where}: expected [start, end] in seconds, got {describe(value)}")
    return [number(one, f"{where}[{i}]") for i, one in enumerate(value)]


def _list(field: Field) -> Field:
    def entries(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise Refused(f"{where}: expected a list, got {describe(value)}")
        if len(value) > MAX_ITEMS:
            raise Refused(f"{where}: has {len(value)} entries; {MAX_ITEMS} are the most")
        return [field(one, f"{where}[{i}]") for i, one in enumerate(value)]

    return entries


def _fields(known: Mapping[str, Field], needed: tuple[str, ...]) -> Field:
    def mapping(value: Any, where: str) -> Draft:
        if not isinstance(value, dict):
            raise Refused(f"{where}: expected {', '.join(known)}, got {describe(value)}")
        for name in value:
            if name not in known:
                raise Refused(f"{where}: {name[:50]!r} is no field; known: {', '.join(known)}")
        for name in needed:
            if value.get(name) is None:
                raise Refused(f"{where}: {name} is missing")
        given = {name: value[name] for name in known if value.get(name) is not None}
        return {name: known[name](one, f"{where}: {name}") for name, one in given.items()}

    return mapping
