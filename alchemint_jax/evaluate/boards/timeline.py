"""A board as a sequence of stretches in which nothing changes, and the words for them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from alchemint_jax.scene.storyboard import Storyboard

Real = float | int
_SAME = 1e-3  # seconds; boundaries that are nearer are one


@dataclass(frozen=True)
class Stretch:
    """A time during which the same subjects are on screen, and the same events go on.

    Attributes:
        start: its first second.
        end: where it ends, exclusive.
        present: numbers of the subjects.
        events: numbers of the events.
    """

    start: float
    end: float
    present: tuple[int, ...]
    events: tuple[int, ...]


def stretches(board: Storyboard) -> list[Stretch]:
    """The stretches of a board, in order and without gaps."""
    spans = [span for subject in board.subjects for span in subject.appears]
    spans += [event.during for event in board.events]
    edges = sorted({0.0, float(board.duration), *(float(edge) for span in spans for edge in span)})
    kept = [edges[0]]
    for edge in edges[1:]:
        if edge - kept[-1] > _SAME:
            kept.append(edge)
    kept[-1] = float(board.duration)
    found: list[Stretch] = []
    for start, end in itertools.pairwise(kept):
        middle = (start + end) / 2
        one = Stretch(
            start,
            end,
            tuple(i for i, s in enumerate(board.subjects) if _holds(s.appears, middle)),
            tuple(i for i, e in enumerate(board.events) if _holds([e.during], middle)),
        )
        if found and (found[-1].present, found[-1].events) == (one.present, one.events):
            found[-1] = Stretch(found[-1].start, end, one.present, one.events)
        else:
            found.append(one)
    return found


def _holds(spans: Sequence[tuple[Real, Real]], second: float) -> bool:
    return any(start <= second < end for start, end in spans)


def the(word: str) -> str:
    """A word with its article; a name, or what has one, is left as it is."""
    return word if word[:1].isupper() or word[:4].lower() == "the " else f"the {word}"


def in_view(word: str) -> str:
    """The sentence that says of one subject that it is on screen."""
    return sentence(f"{the(word)} is in view")


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Words as a list in a sentence: "a, b and c"."""
    return f" {joint} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def sentence(text: str) -> str:
    """A text that begins large and ends with a stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def described(board: Storyboard, stretch: Stretch, names: Sequence[str] | None = None) -> str:
    """What is to be seen in a stretch: who is in view, who is not, and what happens.

    Args:
        board: the board.
        stretch: one of its `stretches`.
        names: what to call subjects that are in view; their words, where it is None.
    """
    words = [the(subject.word) for subject in board.subjects]
    here = [name for i, name in enumerate(names or words) if i in stretch.present]
    away = [word for i, word in enumerate(words) if i not in stretch.present]
    said = []
    if here:
        said.append(f"{listed(here)} {'is' if len(here) == 1 else 'are'} in view")
    if away:
        verb = "is" if len(away) == 1 else "are"
        said.append(f"{listed(away)} {verb} not in view")
    parts = [sentence("; ".join(said))] if said else []
    parts += [sentence(board.events[i].text) for i in stretch.events]
    return " ".join(parts)


def clock_time(seconds: Real) -> str:
    """Seconds as MM:SS.mmm."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 60000:02d}:{milliseconds % 60000 / 1000:06.3f}"
