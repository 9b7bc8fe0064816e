"""What the user asks for: a prompt, and the seconds during which each subject is on screen.

A storyboard is a YAML (or JSON) file::

    prompt: a red disc glides past while a blue star bounces in
    duration: 4.0                       # seconds
    subjects:                           # may be empty
      - word: disc
        image: refs/red_disc.png        # relative to this file
        appears: [[0.5, 2.0]]           # seconds, [start, end), inside 0 .. duration
    events:                             # optional dense captions
      - {text: the disc slows down, during: [1.0, 2.0]}   # one after the other, no overlap
    fps: 8                              # optional, as are the next three
    size: [64, 64]                      # height, width
    seed: 0
    negative_prompt: blurry
    first_frame: start.png              # for models that continue pictures, and only for them
    last_frame: end.png
    keyframes:                          # pictures at any other second
      - {image: middle.png, at: 2.0}
    cuts: [2.5]                         # seconds at which another shot begins, for models with cuts

Whatever is wrong with it is a StoryboardError that says what, where, and what to do.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax import documents, images, wording
from alchemint_jax.documents import FieldPath
from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.checking import MAX_TEXT, Check, Real
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.limits import KEYFRAMES, Limits
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans

# Further bounds on what is worth reading at all. What a model can do is in Limits, and is narrower.
MAX_WORD = 200
MAX_DURATION = 600.0
MAX_FPS = 240.0
MAX_SIDE = 4096


@dataclass(frozen=True)
class SubjectEntry:
    """An entry of `subjects`: its word in the prompt, its picture, and when it is on screen."""

    word: str
    image: Path | None  # None only where pictures may be left out
    appears: Spans  # seconds


@dataclass(frozen=True)
class EventEntry:
    """An entry of `events`: a caption for a part of the video."""

    text: str
    during: tuple[Real, Real]  # seconds


@dataclass(frozen=True)
class KeyframeEntry:
    """An entry of `keyframes`: a picture that the video shows at an instant."""

    image: Path
    at: Real  # seconds


@dataclass(frozen=True)
class Storyboard:
    """A checked storyboard; make one with `load` or `from_dict`.

    Attributes:
        prompt: the caption of the whole video.
        duration: seconds.
        subjects: each has a `word`, the path of its `image`, and `appears`, a tuple of half-open
            intervals (start, end) in seconds, sorted and disjoint.
        events: each has a `text` and `during`, an interval (start, end) in seconds.
        fps: frames per second; None leaves it to the model.
        size: (height, width) in pixels; None leaves it to the model.
        seed: of the noise; None leaves it to the caller.
        negative_prompt: what the video should not show; the model's own text where it is empty.
        first_frame: the picture that the video starts from, for models that continue pictures.
        last_frame: the picture that it ends with.
        keyframes: pictures that it shows in between, each an `image` and the second, `at`, at which
            it is shown.
        cuts: the seconds at which another shot begins, in ascending order; for models that were
            trained with cuts.
        source: what messages call this storyboard.
        remarks: what was noticed while its pictures were read.

    Examples:
        >>> board = al.Storyboard.load("examples/two_subjects.yaml")
        >>> board.subjects[0].word, board.subjects[0].appears
        ('purple moon', ((0.6, 2.6),))

    Source:
        The inputs of AlcheMinT, arXiv 2512.10943; the file format is this repository's.
    """

    prompt: str
    duration: Real  # seconds
    subjects: tuple[SubjectEntry, ...] = ()
    events: tuple[EventEntry, ...] = ()
    fps: Real | None = None
    size: tuple[int, int] | None = None  # height, width
    seed: int | None = None
    negative_prompt: str = ""
    first_frame: Path | None = None
    last_frame: Path | None = None
    keyframes: tuple[KeyframeEntry, ...] = ()
    cuts: tuple[Real, ...] = ()
    source: str = dataclasses.field(default="storyboard", compare=False, repr=False)
    remarks: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Storyboard:
        """Reads and checks a .yaml or .json file; pictures are found relative to it.

        Args:
            path: the file.

        Returns:
            The storyboard.

        Raises:
            StoryboardError: naming the file, the field, and for YAML the line.

        Examples:
            >>> al.Storyboard.load("examples/two_subjects.yaml").duration
            4.0

        Source:
            This repository.
        """
        data, lines = documents.read(path)
        return _build(data, Check(str(path), lines), Path(path).parent)

    @classmethod
    def from_dict(
        cls,
        data: Any,
        base: Path | None = None,
        source: str | None = None,
        pictures: bool = True,
    ) -> Storyboard:
        """Checks a mapping with the fields of a storyboard file.

        Args:
            data: the mapping.
            base: the folder that pictures are relative to; the current one where it is None.
            source: what errors call the storyboard.
            pictures: whether every subject needs one. Without, the board can be asked of systems
                that read text alone, and its videos can be measured; `scene` is for those with
                pictures.

        Returns:
            The storyboard.

        Raises:
            StoryboardError: naming the field.

        Examples:
            >>> al.Storyboard.from_dict({"prompt": "an empty beach", "duration": 2}).subjects
            ()

        Source:
            This repository.
        """
        return _build(data, Check(source or "storyboard", {}), base or Path(), pictures)

    def pictures(self) -> list[tuple[str, Path]]:
        """Every picture that is asked for, by the name of its field."""
        found = [(f"subjects[{i}].image", s.image) for i, s in enumerate(self.subjects)]
        found += [(name, getattr(self, name)) for name in KEYFRAMES]
        found += [(f"keyframes[{i}].image", entry.image) for i, entry in enumerate(self.keyframes)]
        return [(name, path) for name, path in found if path is not None]

    def warnings(self) -> list[str]:
        """What is allowed but probably not meant, one sentence each; there may be many."""
        found = list(self.remarks)
        seen: dict[str, int] = {}  # how often so far; each word is worth one warning of a kind
        for i, subject in enumerate(self.subjects):
            where = f"{self.source}: subjects[{i}].word: {subject.word!r}"
            word = wording.same_word(subject.word)
            seen[word] = seen.get(word, 0) + 1
            if seen[word] == 1 and not wording.mentions(self.prompt, subject.word):
                found.append(f"{where} is not in the prompt")
            if seen[word] == 2:
                found.append(f"{where} names an earlier subject too")
        order = sorted(range(len(self.events)), key=lambda i: self.events[i].during)
        for first, second in itertools.pairwise(order):
            if self.events[second].during[0] < self.events[first].during[1]:
                found.append(
                    f"{self.source}: events[{first}] and events[{second}] overlap; a model times "
                    "events as if one followed the other, so join them or set them apart"
                )
        return found

    def validate_for(self, limits: Limits) -> Storyboard:
        """The same board with fps and size filled in, if a model with these limits can render it.

        Raises:
            StoryboardError: naming the field and everything that the model can do.
        """
        for number, subject in enumerate(self.subjects):
            if subject.image is None:
                where = f"{self.source}: subjects[{number}].image"
                raise StoryboardError(f"{where}: is missing; this model draws from pictures")
        fps = limits.fps[0] if self.fps is None else self.fps
        size = limits.sizes[0] if self.size is None else self.size
        clock = Clock.for_duration(self.duration, fps, limits.stride)
        limits.check(
            self.source,
            subjects=len(self.subjects),
            events=bool(self.events),
            keyframes=tuple(self._given(clock)),
            cuts=self._cuts(clock),
            clock=clock,
            size=size,
            duration=self.duration,
        )
        return dataclasses.replace(self, fps=fps, size=size)

    def scene(self, limits: Limits) -> Scene:
        """What this board asks a model with these limits for, in pixel frames.

        What renders, draws and measures a storyboard asks here, so that all of them have the same
        frames in mind, also where the duration is no whole number of them. Pictures are read when
        they are looked at.

        Raises:
            StoryboardError: see `validate_for`.
        """
        board = self.validate_for(limits)
        assert board.fps is not None  # filled in
        clock = Clock.for_duration(self.duration, board.fps, limits.stride)
        given = self._given(clock)
        return Scene(
            id=self.source,
            caption=self.prompt,
            clock=clock,
            subjects=tuple(
                Subject(
                    entry.word,
                    clock.spans(entry.appears, self.duration),
                    () if entry.image is None else (entry.image,),
                )
                for entry in self.subjects
            ),
            events=tuple(
                Event(entry.text, clock.spans([entry.during], self.duration))
                for entry in self.events
            ),
            keyframes=tuple(given.values()),
            keyframes_at=tuple(given),
            size=board.size,
            cuts=self._cuts(clock),
        )

    def _cuts(self, clock: Clock) -> tuple[int, ...]:
        """The pixel frames that begin another shot.

        Raises:
            StoryboardError: naming one that would be no cut, or the same as another one.
        """
        found: list[int] = []
        for i, second in enumerate(self.cuts):
            frame = clock.frame(second)
            if not 0 < frame < clock.frames or frame in found:
                raise StoryboardError(
                    f"{self.source}: cuts[{i}]: frame {frame} at {clock.fps:g} frames per second "
                    + (
                        "is that of the cut before; leave one of them out"
                        if frame in found
                        else "has no shot on both sides of it; cut after the first frame and not "
                        "after the last one"
                    )
                )
            found.append(frame)
        return tuple(found)

    def _given(self, clock: Clock) -> dict[int, Path]:
        """The pictures that are given, by their pixel frames, in ascending order.

        Raises:
            StoryboardError: naming two that are one frame.
        """
        last = int(clock.frames) - 1
        ends = zip(KEYFRAMES, (0, last), (self.first_frame, self.last_frame), strict=True)
        pictures = [(name, at, path) for name, at, path in ends if path is not None]
        pictures += [
            (f"keyframes[{i}]", clock.instant(entry.at, self.duration), entry.image)
            for i, entry in enumerate(self.keyframes)
        ]
        names: dict[int, str] = {}
        for name, at, _ in pictures:
            if at in names:
                raise StoryboardError(
                    f"{self.source}: {name}: is the same frame as {names[at]}, number {at} at "
                    f"{clock.fps:g} frames per second; leave one of them out"
                )
            names[at] = name
        return {at: path for _, at, path in sorted(pictures, key=lambda picture: picture[1])}


def _build(data: Any, check: Check, base: Path, needed: bool = True) -> Storyboard:
    if data is None:
        check.fail((), "is empty; a storyboard needs a prompt and a duration")
    optional = ("subjects", "events", "fps", "size", "seed", "negative_prompt")
    top = check.mapping(
        data, (), ("prompt", "duration"), (*optional, *KEYFRAMES, "keyframes", "cuts")
    )
    prompt = check.text(top["prompt"], ("prompt",), MAX_TEXT)
    duration = check.number(top["duration"], ("duration",), 0, MAX_DURATION)
    if duration == 0:
        check.fail(("duration",), "must be more than 0 seconds")

    def entries(name: str) -> list[Any]:
        return [] if top[name] is None else check.items(top[name], (name,), "a list")

    subjects = []
    for i, entry in enumerate(entries("subjects")):
        at: FieldPath = ("subjects", i)
        fields = check.mapping(
            entry,
            at,
            ("word", "image", "appears") if needed else ("word", "appears"),
            () if needed else ("image",),
        )
        picture = fields["image"]
        subjects.append(
            SubjectEntry(
                word=check.text(fields["word"], (*at, "word"), MAX_WORD),
                image=None if picture is None else check.image(picture, (*at, "image"), base),
                appears=check.appears(fields["appears"], (*at, "appears"), duration),
            )
        )
    events = []
    for i, entry in enumerate(entries("events")):
        at = ("events", i)
        fields = check.mapping(entry, at, ("text", "during"))
        text = check.text(fields["text"], (*at, "text"), MAX_TEXT)
        during = check.interval(fields["during"], (*at, "during"), duration)
        events.append(EventEntry(text, during))

    fps = size = seed = None
    negative = ""
    if top["fps"] is not None:
        fps = check.number(top["fps"], ("fps",), 1, MAX_FPS)
    if top["size"] is not None:
        sides = check.items(top["size"], ("size",), "[height, width]")
        if len(sides) != 2:
            check.fail(("size",), f"expected [height, width], got {len(sides)} values")
        height, width = (check.integer(v, ("size", i), 1, MAX_SIDE) for i, v in enumerate(sides))
        size = (height, width)
    if top["seed"] is not None:
        seed = check.integer(top["seed"], ("seed",), 0, 2**32 - 1)
    if top["negative_prompt"] is not None:
        negative = check.text(top["negative_prompt"], ("negative_prompt",), MAX_TEXT, empty=True)

    ends = {
        name: None if top[name] is None else check.image(top[name], (name,), base)
        for name in KEYFRAMES
    }
    keyframes = []
    for i, entry in enumerate(entries("keyframes")):
        at = ("keyframes", i)
        fields = check.mapping(entry, at, ("image", "at"))
        path = check.image(fields["image"], (*at, "image"), base)
        keyframes.append(KeyframeEntry(path, check.number(fields["at"], (*at, "at"), 0, duration)))

    cuts = [check.number(one, ("cuts", i), 0, duration) for i, one in enumerate(entries("cuts"))]

    pictures: list[tuple[FieldPath, Path]] = [
        (("subjects", i, "image"), subject.image)
        for i, subject in enumerate(subjects)
        if subject.image is not None
    ]
    pictures += [((name,), path) for name, path in ends.items() if path is not None]
    pictures += [(("keyframes", i, "image"), entry.image) for i, entry in enumerate(keyframes)]
    remarks: dict[Path, str | None] = {}  # last, for decoding pictures is slow
    for field, path in pictures:
        if path not in remarks:
            try:
                remarks[path] = images.check_image(path)
            except StoryboardError as error:
                check.fail(field, str(error))
    return Storyboard(
        prompt=prompt,
        duration=duration,
        subjects=tuple(subjects),
        events=tuple(events),
        fps=fps,
        size=size,
        seed=seed,
        negative_prompt=negative,
        **ends,
        keyframes=tuple(keyframes),
        cuts=tuple(sorted(cuts)),
        source=check.source,
        remarks=tuple(f"{check.source}: {remark}" for remark in remarks.values() if remark),
    )
