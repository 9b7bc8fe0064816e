"""The sprites world: short clips of textured shapes on screen for exactly known intervals.

Everything here is NumPy and deterministic: clip `i` of seed `s` is a pure function of `(world, s,
i)`. Subjects appear, disappear, enter and leave through an edge, come back, and touch. They keep to
places, left to right in the order in which the caption names them, stand upright, and are of one
size: where subjects may be anywhere and turned, a model this small spends its training on drawing
them anywhere and turned, and confuses and bends their shapes. A subject's truth is measured on what
was drawn: it is on screen in a frame when at least `World.min_visible` of its area lies inside the
picture. References are drawn separately, in another pose, size and light, on white.

Axes: f pixel frames, y x pixels, v reference views.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import shapes
from alchemint_jax.worlds.sprites.cuts import draw_cuts
from alchemint_jax.worlds.sprites.events import EventTruth, draw_events, recolored

MOTIONS = ("glides left", "glides right", "glides up", "glides down", "bounces", "circles", "stays")
BACKGROUNDS = ("plain", "shaded", "striped", "cloudy")
PLACES = (
    ((0.5, 0.5),),
    ((0.25, 0.5), (0.75, 0.5)),
    ((0.23, 0.28), (0.5, 0.72), (0.77, 0.28)),
)
"""Where one, two and three subjects have their places: shares of width and height."""
TONES = {"dark": (35, 80), "grey": (110, 150), "light": (190, 235)}


@dataclasses.dataclass(frozen=True)
class World:
    """What varies between versions of the world: pixels, frames, intervals [start, end)."""

    size: int = 64
    frames: int = 33
    fps: float = 8.0
    max_subjects: int = 3
    views: int = 3
    view_size: int = 32
    """Pixels on a side of a reference: a subject is about as large in it as in the clip."""
    radius: float = 10.5
    """Pixels; the longest shape, a bar, reaches 1.2 times as far."""
    sway: float = 4.0
    """Pixels by which a subject may leave its place."""
    speed: tuple[float, float] = (0.15, 0.35)
    """Pixels per frame: a latent frame holds four, and what moves far within one comes out bent."""
    interval: tuple[int, int] = (4, 20)
    min_visible: float = 0.3
    similar: float = 0.4
    """Probability that a further subject shares its shape or its colour with the first one."""
    returns: float = 0.14
    """Probability that a subject leaves and comes back (two intervals)."""
    always: float = 0.04
    events: bool = False
    """Whether subjects turn another colour now and then (see `events`)."""
    cuts: bool = False
    """Whether clips may have several shots (see `cuts`)."""
    worded: bool = False
    """Whether a caption says all that matters: the colour of every subject, and the background."""
    empty: float = 0.0
    """Probability that nobody is there."""

    @property
    def clock(self) -> Clock:
        """Of its clips, whose length suits autoencoders with the stride of Wan's."""
        return Clock(self.fps, self.frames, WAN_STRIDE)

    @classmethod
    def eventful(cls) -> World:
        """A world with events, whose subjects stay long enough for some to happen to them."""
        return cls(interval=(12, 28), returns=0.06, always=0.1, events=True)

    @classmethod
    def short(cls, frames: int) -> World:
        """A world of clips too short for comings and goings: most subjects stay for most of it."""
        return cls(frames=frames, interval=(max(1, frames // 2), frames), returns=0.0)

    @classmethod
    def of_words(cls, frames: int = 33) -> World:
        """A world to be drawn from captions alone: one subject, and at times none."""
        whole = cls() if frames == cls.frames else cls.short(frames)
        return dataclasses.replace(whole, max_subjects=1, views=1, worded=True, empty=0.1)


@dataclasses.dataclass(frozen=True)
class Look:
    """The identity of a subject."""

    shape: str
    color: str
    texture: str


@dataclasses.dataclass(frozen=True)
class Clip:
    """One example of the world."""

    video: np.ndarray
    """uint8 [f y x 3]."""
    scene: Scene
    """Who is on screen when, measured on what was drawn; pictures are uint8 [v y x 3], views of a
    subject, none of them cut from the clip."""
    looks: tuple[Look, ...]
    """The identity of each subject."""
    events: tuple[EventTruth, ...] = ()
    """What the scene's events do; in order of time, without overlap."""


def sample_clip(
    index: int, seed: int = 0, world: World = World(), subjects: int | None = None
) -> Clip:
    """Draws clip `index` of `seed`; `subjects` fixes how many it has (default: one to three)."""
    rng = np.random.default_rng([seed, index])
    count = subjects or int(rng.choice(world.max_subjects, p=_count_odds(world.max_subjects))) + 1
    if subjects is None and world.empty and rng.random() < world.empty:
        count = 0
    looks = sample_looks(rng, count, world.similar)
    words = _words(rng, looks, world.worded)
    video, tone = _background(rng, world)
    tracks = _tracks(rng, world, count)
    shots: tuple[int, ...] = ()
    if world.cuts:  # from a generator of their own, as events are
        own = np.random.default_rng([seed, index, 2])
        shots, last = draw_cuts(own, world.clock), tone
        for at in shots:
            ground, last = _background(own, world, last)
            video[at:] = ground[at:]
            tracks = [
                _mirrored(t, p, at, world) for t, p in zip(tracks, _places(count), strict=True)
            ]
    upright = np.zeros(world.frames), world.radius, world.size
    covers, spans = [], []
    for look, track in zip(looks, tracks, strict=True):
        alpha = shapes.coverage(look.shape, track.xy, *upright)
        alpha *= track.shown[:, None, None]
        area = alpha.sum((1, 2)) / shapes.full_area(look.shape, world.radius)
        covers.append(alpha)
        spans.append(Spans.where(area >= world.min_visible))
    events: tuple[EventTruth, ...] = ()
    if world.events:  # from a generator of their own: all else is as it is without
        own = np.random.default_rng([seed, index, 1])
        events = draw_events(own, [look.color for look in looks], words, spans)
    for slot, (look, track, alpha) in enumerate(zip(looks, tracks, covers, strict=True)):
        pose = (track.xy, *upright)
        paint = shapes.paint(look.color, look.texture, *pose, track.light)
        for event in events:
            if event.subject == slot:
                other = shapes.paint(event.color, look.texture, *pose, track.light)
                paint = recolored(paint, other, event.during)
        video += alpha[..., None] * (paint - video)
    references = [draw_references(rng, look, world) for look in looks]
    caption = _caption(rng, words, [t.motion for t in tracks], tone, world.worded)
    there = zip(words, spans, references, strict=True)
    return Clip(
        video=np.clip(video + 0.5, 0, 255).astype(np.uint8),
        scene=Scene(
            id=f"clip {index}",
            caption=caption,
            clock=world.clock,
            subjects=tuple(Subject(*fields) for fields in there),
            events=tuple(Event(event.text, Spans([event.during])) for event in events),
            size=(world.size, world.size),
            cuts=shots,
        ),
        looks=tuple(looks),
        events=events,
    )


def sample_looks(rng: np.random.Generator, count: int, similar: float) -> list[Look]:
    """Different looks; with probability `similar` a further one is like the first one.

    It then shares the first one's shape or its colour, never both.
    """
    looks: list[Look] = []
    while len(looks) < count:
        shape, color = rng.choice(shapes.SHAPES), rng.choice(list(shapes.COLORS))
        if looks and rng.random() < similar:
            if rng.random() < 0.5:
                shape = looks[0].shape
            else:
                color = looks[0].color
        if (shape, color) not in [(look.shape, look.color) for look in looks]:
            looks.append(Look(str(shape), str(color), str(rng.choice(shapes.TEXTURES))))
    return looks


def draw_references(rng: np.random.Generator, look: Look, world: World) -> np.ndarray:
    """Views of a subject on white, uint8 [v y x 3]; pose, size, light and place differ."""
    views, size = [], world.view_size
    for _ in range(world.views):
        xy = size * (0.5 + rng.uniform(-0.05, 0.05, (1, 2)))
        radius = rng.uniform(0.25, 0.36) * size
        angle = rng.uniform(-0.6, 0.6, 1)
        light = rng.uniform(0.8, 1.1)
        alpha = shapes.coverage(look.shape, xy, angle, radius, size)[..., None]
        paint = shapes.paint(look.color, look.texture, xy, angle, radius, size, light)
        views.append(255 + alpha[0] * (paint[0] - 255))
    return np.clip(np.stack(views) + 0.5, 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class _Track:
    xy: np.ndarray  # [f 2] centre, pixels
    shown: np.ndarray  # [f] 0 or 1
    light: float
    motion: str


def _count_odds(most: int) -> np.ndarray:
    odds = np.array([0.34, 0.46, 0.20][:most] + [0.1] * max(0, most - 3))
    return odds / odds.sum()


def _words(rng: np.random.Generator, looks: list[Look], colored: bool) -> list[str]:
    """A subject's word: its shape, with its colour where the shape is ambiguous, else at times."""
    words = []
    for look in looks:
        ambiguous = sum(other.shape == look.shape for other in looks) > 1
        named = colored or ambiguous or rng.random() < 0.5
        words.append(f"{look.color} {look.shape}" if named else look.shape)
    return words


def _caption(
    rng: np.random.Generator, words: list[str], motions: list[str], tone: str, worded: bool
) -> str:
    parts = [f"a {word} {motion}" for word, motion in zip(words, motions, strict=True)]
    if not parts:
        return f"a {tone} background"
    joins = [str(rng.choice([" while ", " and ", ", "])) for _ in parts[1:]]
    text = parts[0] + "".join(itertools.chain.from_iterable(zip(joins, parts[1:], strict=True)))
    return f"{text} on a {tone} background" if worded or rng.random() < 0.7 else text


def _background(
    rng: np.random.Generator, world: World, other: str | None = None
) -> tuple[np.ndarray, str]:
    """A nearly colourless still background, float32 [f y x 3], and its tone; not the `other`."""
    tone = str(rng.choice([tone for tone in TONES if tone != other]))
    base = rng.uniform(*TONES[tone]) * (1 + rng.uniform(-0.06, 0.06, 3))
    y, x = np.mgrid[: world.size, : world.size].astype(np.float32) / world.size - 0.5
    direction = rng.uniform(0, 2 * np.pi)
    along = np.cos(direction) * x + np.sin(direction) * y
    kind = str(rng.choice(BACKGROUNDS))
    if kind == "plain":
        relief = np.zeros_like(x)
    elif kind == "shaded":
        relief = 0.5 * along
    elif kind == "striped":
        relief = 0.12 * np.sin(2 * np.pi * along * rng.uniform(2, 4))
    else:
        waves = [
            np.cos(rng.uniform(-9, 9) * x + rng.uniform(-9, 9) * y + rng.uniform(0, 6))
            for _ in range(4)
        ]
        relief = 0.06 * np.sum(waves, axis=0)
    still = np.clip(base * (1 + relief[..., None]), 0, 255).astype(np.float32)
    return np.repeat(still[None], world.frames, axis=0), tone


def _tracks(rng: np.random.Generator, world: World, count: int) -> list[_Track]:
    return [_track(rng, world, place) for place in _places(count)]


def _places(count: int) -> list[tuple[float, float]]:
    places = PLACES[min(count, len(PLACES)) - 1]
    return [places[i % len(places)] for i in range(count)]


def _mirrored(track: _Track, place: tuple[float, float], at: int, world: World) -> _Track:
    """From a frame on at the other side of its place, so that no path leads through a cut."""
    xy = track.xy.copy()
    xy[at:] = 2 * world.size * np.array(place) - xy[at:]
    return dataclasses.replace(track, xy=xy)


def _track(rng: np.random.Generator, world: World, place: tuple[float, float]) -> _Track:
    motion = str(rng.choice(MOTIONS))
    spans = _spans(rng, world)
    path = world.size * np.array(place) + _sway(rng, motion, world, spans)
    margin = 1.2 * world.radius + 1
    xy = np.clip(path, margin, world.size - margin)
    shown = np.zeros(world.frames, np.float32)
    for start, end in spans:
        shown[start:end] = 1
        slides = rng.random(2) < 0.35 * (end - start > 10)  # time enough to be wholly inside
        if slides[0] and start > 0:
            xy = xy + _slide(rng, world, xy[start], np.arange(world.frames) - start)
        elif slides[1] and end < world.frames:
            xy = xy + _slide(rng, world, xy[end - 1], end - 1 - np.arange(world.frames))
    return _Track(xy, shown, rng.uniform(0.85, 1.05), motion)


def _spans(rng: np.random.Generator, world: World) -> list[tuple[int, int]]:
    low, high = world.interval
    kind = rng.random()
    if kind < world.always:
        return [(0, world.frames)]
    if kind < world.always + world.returns:
        first, gap, second = (int(rng.integers(5, most)) for most in (11, 10, 11))
        start = int(rng.integers(0, world.frames - (first + gap + second) + 1))
        return [(start, start + first), (start + first + gap, start + first + gap + second)]
    length = int(rng.integers(low, high + 1))
    start = int(rng.integers(0, world.frames - length + 1))
    return [(start, start + length)]


def _sway(
    rng: np.random.Generator, motion: str, world: World, spans: list[tuple[int, int]]
) -> np.ndarray:
    """How far a subject is from its place, per frame [f 2], within `sway`."""
    most = world.sway
    time = np.arange(world.frames, dtype=np.float64)
    time -= (spans[0][0] + spans[-1][1] - 1) / 2
    speed = rng.uniform(*world.speed)
    if motion.startswith("glides"):
        directions = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}
        axis, sign = directions[motion.split()[1]]
        path = np.repeat(rng.uniform(-0.5, 0.5, (1, 2)) * most, world.frames, 0)
        path[:, axis] = sign * np.clip(speed * time, -most, most)
        return path
    if motion == "bounces":
        velocity = speed * _unit(rng)
        start = rng.uniform(0, 2 * most, 2)
        return _fold(start + time[:, None] * velocity, 2 * most) - most
    if motion == "circles":
        reach = rng.uniform(0.5, 1) * most
        phase = speed / reach * rng.choice([-1, 1]) * time + rng.uniform(0, 2 * np.pi)
        return reach * np.stack([np.cos(phase), np.sin(phase)], -1)
    return np.repeat(rng.uniform(-0.5, 0.5, (1, 2)) * most, world.frames, 0)


def _slide(
    rng: np.random.Generator, world: World, at: np.ndarray, frames_inside: np.ndarray
) -> np.ndarray:
    """An offset [f 2] that brings a subject in through the nearer edge in its first few frames."""
    axis = int(rng.integers(2))
    toward_low = at[axis] < world.size / 2
    reach = 1.2 * world.radius
    distance = (at[axis] + reach) if toward_low else (world.size - at[axis] + reach)
    length = rng.integers(6, 10)
    amount = np.clip(1 - (frames_inside + 1) / length, 0, 1) * (frames_inside >= 0)
    offset = np.zeros((world.frames, 2))
    offset[:, axis] = amount * distance * (-1 if toward_low else 1)
    return offset


def _unit(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _fold(position: np.ndarray, width: float) -> np.ndarray:
    """Reflects a position into [0, width]."""
    return width - np.abs(np.mod(position, 2 * width) - width)
