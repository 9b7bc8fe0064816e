"""When a word is to be seen: seconds, a curve, the onsets of a sound, or its subject's own times.

Whatever it is, it becomes a curve from 0 to 1 over latent frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.sampling.control.onsets import onset_curve
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.wording import same_word

Pairs = Sequence[Sequence[float | int]]


@dataclasses.dataclass(frozen=True)
class When:
    """A word of the prompt, and when it is to be seen.

    Give one of `seconds`, `curve` and `audio`; without any, the word's times are those of the
    subjects that are called so.

    Attributes:
        word: as the prompt has it; one or several words of it, wherever they stand.
        seconds: intervals [start, end).
        curve: points (second, height) with heights from 0 to 1, joined by straight lines; before
            the first and after the last one the height stays.
        audio: a sound file, whose onsets are the curve (see `onsets`); it starts with the clip.

    Raises:
        ConfigError: several of these are given, or numbers are not in their range.

    Examples:
        >>> from alchemint_jax.sampling.control import When
        >>> When("star", seconds=((0.5, 2.0),)).word
        'star'
    """

    word: str
    seconds: Pairs | None = None
    curve: Pairs | None = None
    audio: str | None = None

    def __post_init__(self) -> None:
        if not self.word.strip():
            raise ConfigError("tempo: a word is empty")
        ways = [x for x in ("seconds", "curve", "audio") if getattr(self, x) is not None]
        if len(ways) > 1:
            raise ConfigError(f"tempo: {self.word!r}: give {' or '.join(ways)}, not both")
        for name in ("seconds", "curve"):
            if (pairs := getattr(self, name)) is not None:
                object.__setattr__(self, name, self._pairs(name, pairs))
        for start, end in self.seconds or ():
            if not 0 <= start < end:
                raise ConfigError(
                    f"tempo: {self.word!r}: [{start}, {end}) is not an interval of seconds with "
                    "0 <= start < end"
                )
        points = self.curve or ()
        if any(not 0 <= height <= 1 for _, height in points):
            raise ConfigError(f"tempo: {self.word!r}: the heights of a curve are from 0 to 1")
        times = [second for second, _ in points]
        if times != sorted(set(times)):
            raise ConfigError(f"tempo: {self.word!r}: the points of a curve are in order of time")

    def _pairs(self, name: str, pairs: Sequence[Sequence[float | int]]) -> Pairs:
        """As tuples, which can be compared and hashed."""
        rows = tuple(tuple(pair) for pair in pairs)
        if not rows or any(len(row) != 2 or not all(map(math.isfinite, row)) for row in rows):
            raise ConfigError(f"tempo: {self.word!r}: {name} are pairs of finite numbers")
        return rows

    def over(self, scene: Scene, clock: Clock) -> Float[np.ndarray, " t"]:
        """The curve over the latent frames of a scene; a frame that is on in part has its share.

        Raises:
            StoryboardError: no subject of the scene is called so, and nothing else says when.
            ConfigError: the sound cannot be read.
        """
        if self.audio is not None:
            return onset_curve(self.audio, clock)
        frames = np.arange(int(clock.frames))
        if self.curve is not None:
            seconds, heights = np.array(self.curve, np.float64).T
            now = [clock.second(int(frame)) for frame in frames]
            return clock.latent_coverage(np.interp(now, seconds, heights))
        if self.seconds is not None:
            spans = clock.spans(self.seconds)
        else:
            word = same_word(self.word)
            own = [one.spans for one in scene.subjects if same_word(one.word) == word]
            if not own:
                raise StoryboardError(
                    f"{scene.id}: tempo: no subject is called {self.word!r}; say when it is to be "
                    "seen"
                )
            spans = Spans(span for one in own for span in one)
        there = [any(start <= frame < end for start, end in spans) for frame in frames]
        return clock.latent_coverage(np.array(there, np.float64))


def given_words(problem: str, given: Sequence[str | bool]) -> tuple[str, ...]:
    """The words that an option was given; none where it stands alone, which is True.

    Raises:
        ConfigError: there is both; `problem` says so.
    """
    words = tuple(word for word in given if isinstance(word, str))
    if len(words) not in (0, len(given)):
        raise ConfigError(problem)
    return words


def parse_when(text: str) -> When:
    """WORD=WHEN of the command line.

    WHEN is seconds (`0.5-2,3-4`), a curve (`0:0,1.5:1,4:0`, seconds and heights), or a sound file.

    Raises:
        ConfigError: it is none of these.
    """
    word, equals, when = (part.strip() for part in text.partition("="))
    if not (word and equals and when):
        raise ConfigError(
            f"tempo: write WORD=WHEN, for example star=0.5-2, or nothing, not {text!r}"
        )
    for name, sign in (("seconds", "-"), ("curve", ":")):
        pairs = [part.split(sign) for part in when.split(",")]
        try:
            rows = tuple((float(start), float(end)) for start, end in pairs)
        except ValueError:
            continue
        return When(word, seconds=rows) if name == "seconds" else When(word, curve=rows)
    return When(word, audio=when)
