"""Whether a text speaks of a word, in any language: as a hint, that does not split hairs."""

from __future__ import annotations

import re
import unicodedata

# Scripts, as Unicode names their characters, that set no spaces between words, or join to a word
# what other languages write apart (articles in Arabic and Hebrew, particles in Korean).
_JOINED = {
    *("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "IDEOGRAPHIC", "HANGUL", "THAI", "LAO", "KHMER"),
    *("MYANMAR", "TIBETAN", "JAVANESE", "BALINESE", "ARABIC", "HEBREW"),
}
# English plurals that change the end of a word that is too short to lose it, or its middle.
_PLURALS = {"y": "ies", "f": "ves", "fe": "ves", "us": "i"}
_IRREGULAR = {
    **{"man": "men", "woman": "women", "person": "people", "ox": "oxen", "die": "dice"},
    **{"foot": "feet", "tooth": "teeth", "goose": "geese", "mouse": "mice"},
}


def same_word(word: str) -> str:
    """A form that words share if they differ only in case, or in how Unicode writes them."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def mentions(text: str, word: str) -> bool:
    """Whether `text` has `word`, perhaps with another ending.

    Case, accents and how Unicode writes a letter do not matter. Where words stand apart, one in the
    text has to begin as the word does, and to end soon: what follows is shorter than the word
    ("cars", but not "carpet", speaks of a car). Of its letters beyond three the word may lose half,
    rounded down ("berries" speaks of a berry). English plurals that this does not reach are known
    as well ("ladies", "wolves", "mice"). In scripts that set no spaces a word may stand anywhere.
    So "start" passes for "star", which is better than to warn where a language changes its words.
    """
    wanted, given = _words(word), _words(text)
    if not wanted:  # of signs alone
        return same_word(word) in same_word(text)
    starts = range(len(given) - len(wanted) + 1)
    return any(all(map(_fits, wanted, given[i : i + len(wanted)])) for i in starts)


def occurrences(text: str, word: str) -> list[tuple[int, int]]:
    """Where `text` has `word`: [start, end) in characters, whatever their case.

    It stands there as it is; where it never does, with another ending ("cars" for a car) or, in a
    script that sets no spaces, within other characters.
    """
    exact, most = re.escape(word), max(len(word) - 1, 0)
    ways = [rf"(?<!\w){exact}(?!\w)", rf"(?<!\w){exact}\w{{0,{most}}}(?!\w)"]
    if any(map(_joined, word)):
        ways.append(exact)
    for way in ways if word else ():
        if found := [match.span() for match in re.finditer(way, text, re.IGNORECASE)]:
            return found
    return []


def _fits(word: str, found: str) -> bool:
    stem = word[: len(word) - max(0, len(word) - 3) // 2]
    near = found.startswith(stem) and len(found) < 2 * len(word)
    return near or found in _plurals(word) or word in _plurals(found)


def _plurals(word: str) -> set[str]:
    """English plurals of a word, were it a noun, that are more than an ending after it."""
    found = {
        word.removesuffix(one) + many
        for one, many in _PLURALS.items()
        if word.endswith(one) and len(word) >= len(one) + 2
    }
    return found | {_IRREGULAR[word]} if word in _IRREGULAR else found


def _words(text: str) -> list[str]:
    """Words without case, accents and signs; each character of a script without spaces is one."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = [c for c in folded.replace("ı", "i") if not unicodedata.category(c).startswith("M")]
    return re.findall(r"\w+", "".join(f" {c} " if _joined(c) else c for c in letters))


def _joined(character: str) -> bool:
    if character.isascii():
        return False
    return re.split("[ -]", unicodedata.name(character, ""), maxsplit=1)[0] in _JOINED
