"""What can be chosen about an annotation: one frozen dataclass for each stage.

A file (YAML or JSON) holds the parts and fields that are to be different, and
`--config.PART.FIELD=VALUE` sets one. Lengths of time are seconds, areas are shares of the frame.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alchemint_jax import documents
from alchemint_jax.endpoints import Server
from alchemint_jax.errors import ConfigError, StoryboardError

Real = float | int


@dataclass(frozen=True)
class Perceive:
    """Who looks at frames: names of `perceive.choose`, or MODULE:NAME."""

    detector: str = "yolov3-tiny"
    segmenter: str = "u2netp"
    embedder: str = "efficientnet-lite0"
    shots: str = "content"


@dataclass(frozen=True)
class Ingest:
    """Which files are looked at, and how many of them share a shard.

    Attributes:
        shard: videos in a shard; one shard is what a killed run does again.
        timeout: seconds that the probe of one file may take.
    """

    shard: int = 1
    timeout: Real = 120.0


@dataclass(frozen=True)
class Shots:
    """How shots become scenes.

    Attributes:
        side: longest side, in pixels, of the frames in which cuts are looked for.
        shortest: scenes that are shorter are left out, in seconds.
        longest: longer shots are cut into equal parts, in seconds.
        trim: what is cut off at each cut, in seconds: transitions spill over it.
    """

    side: int = 96
    shortest: Real = 0.5
    longest: Real = 300.0
    trim: Real = 0.0


@dataclass(frozen=True)
class Chat(Server):
    """A server that speaks the OpenAI chat protocol: see `Server`.

    Attributes:
        frames: pictures of the scene that are sent along for a caption.
        side: their longest side, in pixels.
    """

    frames: int = 6
    side: int = 512


@dataclass(frozen=True)
class Captions:
    """Where captions come from: the list, a file beside the video, or the server.

    Attributes:
        sidecars: whether NAME.txt and NAME.json beside NAME.mp4 are read.
        events: whether the server is asked what happens when.
    """

    sidecars: bool = True
    events: bool = True


@dataclass(frozen=True)
class Entities:
    """Which words of a caption are looked for.

    Attributes:
        most: words of one scene.
    """

    most: int = 6


@dataclass(frozen=True)
class Detect:
    """How frames are searched.

    Attributes:
        every: seconds between the frames that are searched; ends are refined afterwards.
        side: longest side of a searched frame, in pixels; 0 is the whole frame.
        network: longest side of what the embedded detector sees of it, a multiple of 32: 608 finds
            smaller things than 416, and takes almost twice as long.
        floor: detections that are less sure are not kept.
        batch: frames that are searched at once.
        clash: of two detections that overlap by more (IoU), only the surer one is kept: a thing
            often passes for two.
    """

    every: Real = 0.2
    side: int = 640
    network: int = 416
    floor: Real = 0.08
    batch: int = 4
    clash: Real = 0.7


@dataclass(frozen=True)
class Track:
    """How detections become subjects.

    Attributes:
        start: a track begins with a detection that is at least so sure.
        overlap: the least IoU of a detection with where its track is expected.
        patience: seconds for which a track waits for a detection.
        views: pictures of each track by which it is compared.
        colors: how much of what makes pictures alike is colours above and below the waist, from 0
            to 1; the rest is what the embedder says.
        alike: two tracks that are never on screen together are one subject if their pictures are
            so alike, from 0 to 1.
        near: what is added to that where one is first seen near where the other was last seen,
            away from the border of the frame ...
        soon: ... within so many seconds.
        shortest: seconds; what is seen for less is noise.
        sure: the least of the best score of a track.
        border: seconds for which a subject that moves out of the frame, or into it, may be on
            screen while it is not detected; changes of the picture say for how long it was.
    """

    start: Real = 0.4
    overlap: Real = 0.2
    patience: Real = 1.0
    views: int = 5
    colors: Real = 0.5
    alike: Real = 0.86
    near: Real = 0.08
    soon: Real = 3.0
    shortest: Real = 0.3
    sure: Real = 0.5
    border: Real = 1.5


@dataclass(frozen=True)
class Presence:
    """When a subject counts as on screen.

    Attributes:
        on: a score at which it is there.
        off: a score below which it is not, once it was.
        idle: what does not move and stays below `on` for more seconds than this is not there: a
            stone that is taken for a person now and then.
        gap: shorter gaps are closed, in seconds.
        inside: so are shorter gaps than this, in seconds, between two boxes near each other of
            which neither is at the border of the frame: nobody leaves through the middle.
        least: shorter runs are dropped, in seconds.
    """

    on: Real = 0.35
    off: Real = 0.08
    idle: Real = 3.0
    gap: Real = 0.35
    inside: Real = 1.2
    least: Real = 0.25


@dataclass(frozen=True)
class Pictures:
    """Which pictures are taken of each subject.

    Attributes:
        views: frames of each subject, spread over its time on screen.
        apart: the least time between two of them, in seconds.
        side: longer sides are scaled down to it, in pixels.
        margin: around a box, as a share of its sides.
        inpaint: whether pictures are also made in front of a smooth fill of their surroundings.
        areas: seconds between the frames in which a subject is cut out to measure its area; 0
            measures it where pictures are taken, which costs nothing. Less than the time of a
            frame measures every one.
    """

    views: int = 4
    apart: Real = 0.5
    side: int = 384
    margin: Real = 0.12
    inpaint: bool = True
    areas: Real = 0.0


@dataclass(frozen=True)
class Redux:
    """Pictures of the same subjects in another pose or light, made elsewhere; see the guide.

    Attributes:
        folder: with a folder for each scene; empty is none.
        side: longer sides are scaled down to it, in pixels.
    """

    folder: str = ""
    side: int = 384


@dataclass(frozen=True)
class Scores:
    """How pictures are measured.

    Attributes:
        side: shorter side to which a picture is scaled before its blur is measured.
    """

    side: int = 128


@dataclass(frozen=True)
class Pairs:
    """Pictures of a subject from other scenes of its video.

    Attributes:
        most: of each subject.
        alike: two subjects of one word are one if their pictures are so alike.
        copy: pictures that are more alike than this are left out: they teach nothing.
    """

    most: int = 2
    alike: Real = 0.86
    copy: Real = 0.985


@dataclass(frozen=True)
class Select:
    """All thresholds on what is kept. Everything that was measured stays in stages/scores.

    Attributes:
        subjects: the most in a scene.
        guessed: whether a subject is kept whose word is a guess: see `named_by` in the guide.
        shortest: seconds on screen.
        sure: mean score over its time on screen.
        smallest, largest: share of the frame that its box covers.
        pixels: shorter side of a picture.
        overlap: of a picture's box with that of another subject, as a share of it.
        darkest, brightest: mean luma inside the mask, 0 to 255.
        clipped: share of pixels that are black or white.
        sharpness: variance of the Laplacian.
        whole: share of the mask in its largest part.
        border: share of the box's outline that lies on the border of the frame.
        filled: share of its box that a mask covers; below it, the mask missed the subject.
        mixture: how often each kind of picture is drawn, over the kinds there are.
        cross: share of draws that take a picture from another scene, where there is one.
    """

    subjects: int = 12
    guessed: bool = True
    shortest: Real = 0.5
    sure: Real = 0.2
    smallest: Real = 0.003
    largest: Real = 0.95
    pixels: int = 32
    overlap: Real = 0.7
    darkest: Real = 12.0
    brightest: Real = 243.0
    clipped: Real = 0.5
    sharpness: Real = 8.0
    whole: Real = 0.7
    border: Real = 0.45
    filled: Real = 0.15
    mixture: tuple[tuple[str, Real], ...] = (
        ("crop", 1),
        ("segment", 5),
        ("inpaint", 3),
        ("redux", 1),
    )
    cross: Real = 0.3


@dataclass(frozen=True)
class Clips:
    """The videos that are written.

    Attributes:
        side: shorter side in pixels, where a clip is written anew; 0 keeps the size.
        quality: of H.264 (CRF); less is better, and larger.
        preset: of x264.
    """

    side: int = 0
    quality: int = 18
    preset: str = "veryfast"


@dataclass(frozen=True)
class Pack:
    """What is written in the end.

    Attributes:
        dataset: whether DIR/dataset is written.
        report: the most scenes that are shown in the report.
        validation: share of videos whose scenes make the split `validation`.
        shard: clips in a file of the dataset.
    """

    dataset: bool = True
    report: int = 48
    validation: Real = 0.0
    shard: int = 64


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen; each stage reads its part alone."""

    perceive: Perceive = Perceive()
    ingest: Ingest = Ingest()
    shots: Shots = Shots()
    chat: Chat = Chat()
    captions: Captions = Captions()
    entities: Entities = Entities()
    detect: Detect = Detect()
    track: Track = Track()
    presence: Presence = Presence()
    pictures: Pictures = Pictures()
    redux: Redux = Redux()
    scores: Scores = Scores()
    pairs: Pairs = Pairs()
    select: Select = Select()
    clips: Clips = Clips()
    pack: Pack = Pack()


def load_settings(
    path: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """Settings from a file, and from `PART.FIELD=VALUE` texts, which count more.

    Raises:
        ConfigError: naming the file, and the field that is unknown or of another type.
    """
    where = "settings" if path is None else str(path)
    values: Any = {}
    if path is not None:
        try:
            values = documents.read(path)[0] or {}
        except StoryboardError as error:
            raise ConfigError(str(error)) from error
    found = _build(Settings, values, where, "")
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--config.{text}: write --config.{name}=VALUE")
        chosen: Any = value
        for part in reversed(name.split(".")):
            chosen = {part: chosen}
        found = _build(Settings, chosen, "--config", "", found)
    return found


def _build(cls: type, values: Any, where: str, name: str, base: Any = None) -> Any:
    """A dataclass with other values in some of its fields."""
    if not isinstance(values, Mapping):
        fields = ", ".join(one.name for one in dataclasses.fields(cls))
        raise ConfigError(f"{where}: {name or 'the file'}: expected fields ({fields})")
    hints = typing.get_type_hints(cls)
    base = cls() if base is None else base
    changed = {}
    for key, value in values.items():
        full = f"{name}.{key}".lstrip(".")
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(hints)}"
            raise ConfigError(f"{where}: there is no field {full!r}; {hint}")
        if dataclasses.is_dataclass(hints[key]):
            changed[key] = _build(hints[key], value, where, full, getattr(base, key))
        else:
            changed[key] = _value(value, getattr(base, key), f"{where}: {full}")
    return dataclasses.replace(base, **changed)


def _value(value: Any, default: Any, where: str) -> Any:
    """The value, of the same kind as the default; texts are read where the default is none."""
    if isinstance(default, tuple):
        try:
            pairs = ast.literal_eval(value) if isinstance(value, str) else value
            return tuple((str(name), float(weight)) for name, weight in dict(pairs).items())
        except (ValueError, TypeError, SyntaxError):
            raise ConfigError(f"{where}: expected kinds and weights, such as crop: 1") from None
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = ast.literal_eval(value.strip().capitalize() if value in _WORDS else value)
        except (ValueError, SyntaxError):
            raise ConfigError(f"{where}: must be {_kind(default)}, not {value!r}") from None
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise ConfigError(f"{where}: must be {_kind(default)}, not {documents.describe(value)}")
    if isinstance(value, Real) and not isinstance(value, bool) and value < 0:
        raise ConfigError(f"{where}: must be at least 0, not {value}")
    return value


_WORDS = ("true", "false")


def _kind(default: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return kinds[type(default)]
