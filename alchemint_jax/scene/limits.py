"""What a model can render: limits that a storyboard, or a scene, is held against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.clock import Clock

Real = float | int
KEYFRAMES = ("first_frame", "last_frame")
Further = Literal["none", "first", "frames", "latent frames"]
"""Keyframes that can be given: none, the first frame, any, or any one of each latent frame."""


@dataclass(frozen=True)
class Limits:
    """What a model can render. The first size and the first fps are its defaults."""

    max_subjects: int
    max_frames: int  # pixel frames
    fps: tuple[Real, ...]
    sizes: tuple[tuple[int, int], ...]  # (height, width)
    stride: int  # pixel frames per latent frame, of the autoencoder's config
    size_multiple: int | None = None  # other sizes are fine too, if both sides are multiples
    max_pixels: int | None = None  # height * width of such a size
    min_frames: int = 1
    events: bool = False
    keyframes: int = 0  # that it needs: 1 is the first frame, 2 the first and the last one
    more_keyframes: Further = "none"
    cuts: bool = False

    def describe(self) -> str:
        """Everything on one line, for error messages."""
        sizes = [f"{h}x{w}" for h, w in self.sizes]
        if self.size_multiple:
            rule = f"any multiple of {self.size_multiple}"
            sizes.append(rule + (f" up to {self.max_pixels} pixels" if self.max_pixels else ""))
        low, high = (
            Clock(self.fps[0], frames, self.stride).duration
            for frames in (self.min_frames, self.max_frames)
        )
        return (
            f"up to {self.max_subjects} subjects; size (height x width) {' or '.join(sizes)}; "
            f"fps {' or '.join(f'{f:g}' for f in self.fps)}; {self.min_frames} to "
            f"{self.max_frames} frames ({low:g} to {high:g} s at {self.fps[0]:g} fps); "
            f"{'events' if self.events else 'no events'}"
            + ("; cuts between shots" if self.cuts else "")
            + (f"; it needs {' and '.join(KEYFRAMES[: self.keyframes])}" if self.keyframes else "")
            + {
                "none": "",
                "first": f"; it also takes {KEYFRAMES[0]}",
                "frames": "; keyframes at any time",
                "latent frames": f"; keyframes at any time, one in {self.stride} frames",
            }[self.more_keyframes]
        )

    def check(
        self,
        source: str,
        *,
        subjects: int,
        events: bool,
        keyframes: Sequence[int],
        clock: Clock,
        size: tuple[int, int],
        duration: Real | None = None,
        cuts: Sequence[int] = (),
    ) -> None:
        """Refuses what this model cannot render.

        Args:
            source: what errors say that the clip is from.
            subjects: how many it has.
            events: whether it has any.
            keyframes: pixel frames that are given, in ascending order.
            clock: its frames and how fast they go.
            size: height and width in pixels.
            duration: the seconds that were asked for, where they are not the clock's.
            cuts: pixel frames that begin another shot.

        Raises:
            StoryboardError: naming the field and everything that the model can do.
        """

        def fail(field: str, problem: str) -> NoReturn:
            raise StoryboardError(
                f"{source}: {field}: {problem}; this model can do: {self.describe()}"
            )

        if subjects > self.max_subjects:
            fail("subjects", f"{subjects} subjects are too many")
        if events and not self.events:
            fail("events", "dense captions are not possible (but --relay tells them in the prompt)")
        if cuts and not self.cuts:
            fail("cuts", "a cut between shots cannot be asked for")
        if clock.fps not in self.fps:
            fail("fps", f"{clock.fps:g} frames per second is not possible")
        if size not in self.sizes:
            step, area = self.size_multiple, size[0] * size[1]
            fits = step is not None and size[0] % step == 0 == size[1] % step
            if not fits or area > (self.max_pixels or math.inf):
                fail("size", f"{size[0]}x{size[1]} is not possible")
        whole = replace(clock, stride=self.stride).whole
        if not (whole and self.min_frames <= clock.frames <= self.max_frames):
            seconds = clock.duration if duration is None else duration
            fail(
                "duration",
                f"{seconds:g} s at {clock.fps:g} fps is {clock.frames} frames, not possible"
                + ("" if whole else f" (frames must be {self.stride}k+1)"),
            )
        self._check_keyframes(keyframes, clock, fail)

    def _check_keyframes(
        self, given: Sequence[int], clock: Clock, fail: Callable[[str, str], NoReturn]
    ) -> None:
        ends = {int(clock.frames) - 1: KEYFRAMES[1]} | {0: KEYFRAMES[0]}
        needed = [0, int(clock.frames) - 1][: self.keyframes]
        possible = {"none": (), "first": (0,)}.get(self.more_keyframes, given)
        for at in needed:
            if at not in given:
                fail(ends[at], "is missing; give a picture")
        for at in given:
            if at not in needed and at not in possible:
                where = ends.get(at, f"keyframes: the one at {clock.second(at):g} s")
                fail(where, "cannot be given")
        if self.more_keyframes == "latent frames":
            held = replace(clock, stride=self.stride)
            for first, second in itertools.pairwise(given):
                if held.latent_frame(first) == held.latent_frame(second):
                    times = " and ".join(f"{clock.second(at):g} s" for at in (first, second))
                    fail("keyframes", f"those at {times} are too close to each other")
