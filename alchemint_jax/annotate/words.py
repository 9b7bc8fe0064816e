"""Which words of a caption are subjects: the taxonomy, and the rules that hold whoever found them.

A caption is data. Whatever it says, a word is kept only if the caption has it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax import documents
from alchemint_jax.wording import same_word

BACKGROUND = "background"
_FOLDER = Path(__file__).parent / "taxonomy"

_IRREGULAR = {
    **{"men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse"},
    **{"geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox", "wolves": "wolf"},
    **{"knives": "knife", "calves": "calf", "leaves": "leaf", "loaves": "loaf", "buses": "bus"},
    **{"policemen": "policeman", "firemen": "fireman", "fishermen": "fisherman"},
    **{"gentlemen": "gentleman", "businessmen": "businessman", "skis": "skis"},
}


@dataclass(frozen=True)
class Category:
    """What a word means: what kind of thing, and a detector's word for it, if COCO has one."""

    name: str
    kind: str
    detector: str | None


@functools.cache
def rules() -> dict[str, frozenset[str]]:
    """Lists of words by which captions are read."""
    data, _ = documents.read(_FOLDER / "rules.yaml")
    return {name: frozenset(words.split()) for name, words in data.items()}


@functools.cache
def taxonomy() -> dict[str, Category]:
    """The category of each word that is known, in the singular."""
    data, _ = documents.read(_FOLDER / "categories.yaml")
    found: dict[str, Category] = {}
    for name, entry in data.items():
        category = Category(name, entry["kind"], entry.get("detector"))
        found |= {word.strip(): category for word in entry["words"].split(",")}
    return found


@functools.cache
def kinds() -> dict[str, str]:
    """What kind of thing each detector's word is; words that are not here are objects."""
    return {c.detector: c.kind for c in taxonomy().values() if c.detector}


def kind_of(word: str) -> str:
    """What kind of thing a word is: its own, or that of its last part in the taxonomy."""
    category = category_of(word)
    return kinds().get(word) or (category.kind if category else "object")


def category_of(phrase: str) -> Category | None:
    """The category of the longest end of a phrase that the taxonomy knows."""
    parts = same_word(phrase).split()
    for start in range(len(parts)):
        for one in _singulars(" ".join(parts[start:])):
            if one in taxonomy():
                return taxonomy()[one]
    return None


def detected_kind(word: str) -> str:
    """The word of COCO for what a word means, so that "woman" is "person"; else its category."""
    category = category_of(word)
    return (category.detector or category.name) if category else word


def _singulars(phrase: str) -> list[str]:
    """The phrase, and what it is the plural of, if it is one."""
    head, _, last = phrase.rpartition(" ")
    found = [last]
    if last not in rules()["both"]:
        if last in _IRREGULAR:
            found.append(_IRREGULAR[last])
        if last.endswith("ies") and len(last) > 4:
            found.append(last[:-3] + "y")
        if last.endswith("ves") and len(last) > 4:
            found += [last[:-3] + "f", last[:-3] + "fe"]
        if last.endswith("es") and len(last) > 3:
            found.append(last[:-2])
        if last.endswith("s") and not last.endswith("ss") and len(last) > 2:
            found.append(last[:-1])
    return [f"{head} {one}".strip() for one in found]


def extract(caption: str) -> list[dict[str, str]]:
    """What the taxonomy finds in a caption, in order: phrase, word, kind, and "one" or "many".

    The longest words win, and colours, sizes and materials before a word belong to it.
    """
    tokens = [(m.group().casefold(), m.start(), m.end()) for m in _TOKEN.finditer(caption)]
    found = []
    at = 0
    while at < len(tokens):
        for length in range(min(3, len(tokens) - at), 0, -1):
            span = tokens[at : at + length]
            said = " ".join(token for token, _, _ in span)
            joined = re.sub(r"\s+", " ", caption[span[0][1] : span[-1][2]]).casefold()
            one = next((s for s in _singulars(said) if s in taxonomy()), None)
            if joined == said and (
                one or (length == 1 and said in rules()["body"] | rules()["groups"])
            ):
                first = at
                while first > max(0, at - 2) and tokens[first - 1][0] in rules()["modifiers"]:
                    if not caption[tokens[first - 1][2] : tokens[first][1]].isspace():
                        break
                    first -= 1
                phrase = caption[tokens[first][1] : span[-1][2]]
                before = tokens[first - 1][0] if first else ""
                many = (one is not None and one != said) or before in rules()["many"]
                found.append(
                    {
                        "phrase": phrase,
                        "word": re.sub(r"\s+", " ", phrase).casefold(),
                        "kind": taxonomy()[one].kind if one else "object",
                        "count": "many" if many else "one",
                    }
                )
                at += length
                break
        else:
            at += 1
    return found


_TOKEN = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


def occurs(word: str, caption: str) -> bool:
    """Whether a caption has a word, whole, in any case."""
    pattern = r"\s+".join(map(re.escape, same_word(word).split()))
    return bool(pattern) and bool(re.search(rf"(?<!\w){pattern}(?!\w)", same_word(caption)))


def in_order(words: Iterable[str], caption: str) -> list[str]:
    """Words in the order in which a caption names them; those that it does not name come last.

    In "a red disc, a star and a disc", "disc" is the last one.
    """
    known = [same_word(word) for word in words]
    longest = sorted(filter(None, known), key=len, reverse=True)
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)"
    named = re.findall(pattern, same_word(caption)) if longest else []
    return list(dict.fromkeys([*named, *known]))


def choose(
    caption: str, candidates: Iterable[Any], most: int
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The candidates that are subjects, and the others with the reason.

    The same rules for all: the caption has the word; it is one thing; no part of a body, no
    background, nothing abstract; no word twice. Humans and animals come first, then the order of
    the caption counts.
    """
    kept: list[dict[str, Any]] = []
    lost: list[dict[str, str]] = []
    for entry in candidates:
        word, phrase = same_word(str(entry["word"])), same_word(str(entry["phrase"]))
        if (reason := _refusal(word, phrase, entry, caption)) is not None:
            lost.append({"word": word[:100], "reason": reason})
        else:
            category = category_of(word)
            kept.append(
                {
                    "word": word,
                    "category": category.name if category else word,
                    "kind": category.kind if category else str(entry["kind"]),
                    "detector": category.detector if category else None,
                }
            )
    unique: list[dict[str, Any]] = []
    for entry in kept:
        parts = entry["word"].split()
        # "an old red car ... the car" is one car; "a red car ... a blue car" are two.
        if not any(
            parts[-1] == one["word"].split()[-1] and {*parts} <= {*one["word"].split()}
            for one in unique
        ):
            unique.append(entry)
    unique.sort(key=lambda entry: entry["kind"] not in ("human", "animal"))
    lost += [
        {"word": entry["word"], "reason": f"is one of more than {most} subjects"}
        for entry in unique[most:]
    ]
    return unique[:most], lost


def _refusal(word: str, phrase: str, entry: Any, caption: str) -> str | None:
    parts = word.split()
    if not parts or len(parts) > 5:
        return "is no word"
    if not occurs(word, caption) or not occurs(phrase, caption):
        return "is not in the caption"
    last = parts[-1]
    category = category_of(word)
    if last in rules()["body"] and word not in taxonomy():
        return "is a part of a body"
    if last in rules()["groups"] or entry["count"] == "many":
        return "is a group, or more than one"
    if entry["kind"] == BACKGROUND or (category and category.kind == BACKGROUND):
        return "is background"
    if last in rules()["abstract"] and word not in taxonomy():
        return "is nothing that can be seen alone"
    return None


def caption_of(words: Sequence[str]) -> str:
    """A plain caption that has these words: "a dog, a person and an umbrella"."""
    each = [f"{'an' if word[:1] in 'aeiou' else 'a'} {word}" for word in dict.fromkeys(words)]
    return " and ".join(filter(None, [", ".join(each[:-1]), *each[-1:]]))
