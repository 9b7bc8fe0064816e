"""What is made of a dataset when it is encoded, and of which windows of its clips."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.data.buckets import Bucket, choose, generator, starts
from alchemint_jax.data.references import Variation
from alchemint_jax.data.sources import AnyClip, Room
from alchemint_jax.data.text_states import TextRows
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.progress import Progress
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.packing import MIN_ROWS

# The share of frames that may be shown twice, which teaches a model to stutter.
_REPEATED = 0.1


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What is made of a dataset.

    None leaves it to the dataset: clips of one shape say what their records have room for, and stay
    as they are.

    Attributes:
        buckets: shapes of what is encoded; none for clips of one shape, which are encoded whole.
        fps: frames per second. Clips of a higher rate are thinned out, those of a lower one are
            left out.
        windows: of a clip, at the most; they do not overlap.
        seed: of all that is drawn.
        slots: subjects of a record; of more, the first ones are kept.
        spans: rows of intervals of each of them; what is beyond them is joined to the last row.
        views: pictures of each of them.
        events: rows of events.
        cuts: rows of cuts.
        reference_size: height and width of pictures; None is that of the bucket, or of the
            pictures of clips of one shape.
        margin: seconds around a window from which no picture should be taken.
        outside_only: whether a subject that has pictures of its window alone gets no slot.
        kinds: how often kinds of pictures are drawn, by name; Kaleido's by default.
        cross: share of pictures from other scenes, where there are any.
        context: share of the pictures of a subject alone that are shown in front of a frame of
            another video instead of white (see `grounds`).
        vary: whether pictures are drawn and varied; if not, the first ones are taken as they are.
        variation: how far they are varied.
    """

    buckets: tuple[Bucket, ...] = ()
    fps: float | None = None
    windows: int = 4
    seed: int = 0
    slots: int | None = None
    spans: int | None = None
    views: int | None = None
    events: int | None = None
    cuts: int | None = None
    reference_size: tuple[int, int] | None = None
    margin: float = 0.5
    outside_only: bool = False
    kinds: tuple[tuple[str, float], ...] = (
        ("crop", 1.0),
        ("segment", 5.0),
        ("inpaint", 3.0),
        ("redux", 1.0),
    )
    cross: float = 0.3
    context: float = 0.0
    vary: bool | None = None
    variation: Variation = Variation()

    def __post_init__(self) -> None:
        for name in ("windows", "slots", "spans", "views"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        for name in ("cross", "context"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} is a share from 0 to 1, not {value}")
        if any(weight < 0 for _, weight in self.kinds) or not any(w for _, w in self.kinds):
            raise ConfigError(f"kinds: {self.kinds}: weights are positive, or 0")
        if len(set(self.buckets)) != len(self.buckets):
            raise ConfigError("a bucket is named twice")
        if self.fps is not None and not self.fps > 0:
            raise ConfigError(f"fps must be positive, not {self.fps}")

    def check_fits(self, vae_dir: Path | str, config: Any) -> None:
        """Raises ConfigError unless an autoencoder leaves nothing of the buckets out."""
        cell, stride = config.spatial_stride, config.temporal_stride
        sizes = [(f"bucket {bucket}", bucket.size) for bucket in self.buckets]
        if self.reference_size:
            sizes.append(("the size of references", self.reference_size))
        for what, size in sizes:
            if size[0] % cell or size[1] % cell:
                raise ConfigError(
                    f"{what}: {size[0]} x {size[1]} pixels are no multiples of {cell}, which the "
                    f"autoencoder of {vae_dir} needs"
                )
        for bucket in self.buckets:
            clock = Clock(1, bucket.frames, stride)
            if not clock.whole:
                closest = Clock.for_duration(clock.duration, clock.fps, stride).frames
                raise ConfigError(
                    f"bucket {bucket}: the autoencoder of {vae_dir} takes {stride}k+1 frames, such "
                    f"as {closest}"
                )

    def resolved(self, room: Room | None, first: AnyClip) -> Encoding:
        """With what the dataset says where this says nothing.

        Raises:
            ConfigError: it says nothing either.
        """
        scene = first.scene()
        if not self.buckets and room is None:
            height, width = scene.size or (0, 0)
            raise ConfigError(
                f"clips have sizes and lengths of their own: say with --buckets what to make of "
                f"them, for example 81x480x832,1x480x832 (the first clip is {scene.clock.frames} "
                f"frames of {height} x {width})"
            )
        free = room or Room(slots=3, spans=MIN_ROWS, views=3, events=None)
        size = self.reference_size
        if size is None and room is not None:
            *_, high, wide, _ = first.record["references"].shape  # type: ignore[attr-defined]
            size = (high, wide)
        if self.views is not None and room is not None and self.views > room.views:
            raise DataError(f"views: {self.views} are wanted, but clips have {room.views}")
        vary = room is None if self.vary is None else self.vary
        if self.context and not vary:
            raise ConfigError("context: pictures that are taken as they are get no other ground")
        if self.variation != Variation() and not vary:
            raise ConfigError("variation: pictures that are taken as they are do not vary")
        return dataclasses.replace(
            self,
            fps=float(scene.clock.fps) if self.fps is None else self.fps,
            slots=self.slots or free.slots,
            spans=self.spans or free.spans,
            views=self.views or free.views,
            events=self.events if self.events is not None else free.events,
            cuts=self.cuts if self.cuts is not None else free.cuts,
            reference_size=size,
            vary=vary,
        )

    def pictures_in(self, bucket: Bucket) -> tuple[int, int]:
        """Height and width of references beside clips of a bucket."""
        return self.reference_size or bucket.size

    def described(self) -> dict[str, Any]:
        """What tells datasets apart that were encoded in other ways, as JSON has it."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["buckets"] = [str(bucket) for bucket in self.buckets]
        fields["variation"] = dataclasses.asdict(self.variation)
        for name in ("context", "cuts"):  # earlier cards do not name them
            if not fields[name]:
                del fields[name]
        return fields


AS_IT_IS = Encoding()
"""Clips of one shape as they are, with their pictures."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of a clip.

    Attributes:
        clip: its number in the split.
        start: the first frame, at the rate of the dataset that is made.
    """

    clip: int
    start: int


@dataclasses.dataclass(frozen=True)
class Part:
    """The windows of a split in a bucket."""

    bucket: Bucket
    split: str
    windows: list[Window]


def plan_windows(
    data_dir: Path | str,
    sources: dict[str, Any],
    encoding: Encoding,
    rows: TextRows | None,
) -> tuple[list[Part], dict[str, int]]:
    """Which windows there are, and how many clips were left out, by the reason.

    All texts are given to `rows` on the way.

    Raises:
        DataError: nothing is left of the split `train`, or a clip is damaged.
    """
    assert encoding.fps is not None
    if not encoding.buckets and rows is None:  # clips of one shape: none needs to be looked at
        first = sources["train"][0].scene()
        bucket = Bucket(len(first.clock.at_rate(encoding.fps)), *first.size)
        every = {split: range(len(source)) for split, source in sources.items() if len(source)}
        whole = [Part(bucket, split, [Window(i, 0) for i in ids]) for split, ids in every.items()]
        return whole, {}
    found: dict[tuple[Bucket, str], list[Window]] = {}
    skipped: dict[str, int] = {}
    with Progress(sum(map(len, sources.values())), "looking at clips") as progress:
        seen = 0
        for split, source in sources.items():
            for number in range(len(source)):
                scene = source[number].scene()
                if rows is not None:
                    lengths = rows.encoder.lengths
                    rows.rows([scene.caption], lengths.caption)
                    rows.rows([subject.word for subject in scene.subjects], lengths.word)
                    rows.rows([event.text for event in scene.events], lengths.event)
                seen += 1
                progress.update(seen)
                shown = scene.clock.at_rate(encoding.fps)
                frames = len(shown)
                if 1 - len(np.unique(shown)) / frames > _REPEATED:
                    skipped["too slow"] = skipped.get("too slow", 0) + 1
                    continue
                shapes = encoding.buckets or (Bucket(frames, *scene.size),)
                chosen = choose(shapes, frames, scene.size)
                if chosen is None:
                    skipped["too short"] = skipped.get("too short", 0) + 1
                    continue
                random = generator(encoding.seed, scene.id, "windows")
                for start in starts(frames, chosen.frames, encoding.windows, random):
                    found.setdefault((chosen, split), []).append(Window(number, start))
    if not any(split == "train" for _, split in found):
        why = " and ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise DataError(
            f"{data_dir}: no clip of the split 'train' fills a bucket ({why}); choose shorter "
            "buckets, or a lower rate"
        )
    return [Part(*key, windows) for key, windows in sorted(found.items())], skipped
