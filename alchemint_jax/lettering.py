"""Text in pictures: with a font that has its letters, and never with boxes in their place.

The font that comes with Pillow knows English letters and little else. For other texts a font of the
system is looked for; where none will do, what cannot be written is left out.
"""

from __future__ import annotations

import bisect
import functools
import shutil
import subprocess
import unicodedata
from typing import Any

from PIL import ImageFont

# What macOS comes with, which has no fontconfig to ask; Pillow knows the folders.
_OF_MACOS = (
    *("Arial Unicode.ttf", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Thonburi.ttc"),
    *("Kohinoor.ttc", "PingFang.ttc"),
)


def fitted(text: str, size: int, otherwise: str = "") -> tuple[str, Any, bool]:
    """A text as it can be written on one line, its font, and whether nothing had to be left out.

    Args:
        text: anything; white space is collapsed.
        size: of the font, in pixels.
        otherwise: to write in its stead if half of its letters cannot be, in ASCII.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    text = "".join(c for c in text if unicodedata.category(c) != "Cc")
    fonts = [ImageFont.load_default(size=size)]
    if _missing(text, fonts[0]):
        fonts += _installed(text, size)
    font = min(fonts, key=lambda font: len(_missing(text, font)))
    missing = _missing(text, font)
    if not missing:
        return text, font, True
    bare = "".join(unicodedata.normalize("NFKD", c) if c in missing else c for c in text)
    missing = _missing(bare, font)
    kept = " ".join("".join(c for c in bare if c not in missing).split())
    if 2 * _letters(kept) > _letters(text):
        return kept, font, False
    return otherwise, fonts[0], False


def shortened(line: str, most: int = 24) -> str:
    """The beginning of a line, at most so many letters."""
    return line if len(line) <= most else line[: most - 1] + "…"


def cut_to(line: str, font: Any, width: int | float) -> str:
    """As much of a line as fits into `width` pixels."""
    line = shortened(line, max(2, round(width)))  # a letter takes a pixel at the least
    if font.getlength(line) <= width:
        return line
    longest = bisect.bisect_right(
        range(2, len(line)), width, key=lambda n: font.getlength(shortened(line, n))
    )
    return shortened(line, 1 + longest) if longest else "…"


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _installed(text: str, size: int) -> list[Any]:
    fonts = []
    for name, index in [] if text.isascii() else _found("".join(sorted(set(text)))):
        try:
            fonts.append(ImageFont.truetype(name, size, index))
        except OSError:  # not there, or of bitmaps of another size
            continue
    return fonts


@functools.lru_cache(maxsize=256)
def _found(letters: str) -> list[tuple[str, int]]:
    """Files, and places in them, of fonts that may have these letters."""
    if not (fontconfig := shutil.which("fc-match")):
        return [(name, 0) for name in _OF_MACOS]
    pattern = "sans-serif:charset=" + " ".join(f"{ord(c):x}" for c in letters)
    try:
        done = subprocess.run(
            [fontconfig, "-f", "%{index} %{file}", pattern],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return []
    index, _, file = done.stdout.partition(" ")
    return [(file, int(index) & 0xFFFF)] if file and index.isdigit() else []


def _missing(text: str, font: Any) -> set[str]:
    """Letters that a font draws as it draws those that do not exist, or in the wrong order."""
    box = _drawn("\U0010ffff", font)
    shaped = font.layout_engine == ImageFont.Layout.RAQM
    return {
        c
        for c in set(text)
        if (not shaped and unicodedata.bidirectional(c) in ("R", "AL"))
        or (c != " " and _drawn(c, font) == box)
    }


def _drawn(letter: str, font: Any) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
