"""Whatever is encoded, seen alike: scenes with frames and with pictures of their subjects.

There are datasets of clips of one shape (`data.clips`), and those of videos of any size and length
(`data.timed_clips`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alchemint_jax.data import clips
from alchemint_jax.data.examples import read_scene
from alchemint_jax.data.references import AnyPicture
from alchemint_jax.data.timed_clips import ELSEWHERE, TimedClips, is_timed_clips, open_timed_clips
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene


@runtime_checkable
class AnyClip(Protocol):
    """A clip of any dataset; `timed_clips.TimedClip` is one."""

    @property
    def pictures(self) -> Sequence[AnyPicture]:
        """Of its subjects."""
        ...

    def scene(self, stride: int = 1) -> Scene:
        """Who is on screen when, for an autoencoder of such a stride; without pictures."""
        ...

    def frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Its frames [start, stop), scaled to a size."""
        ...


@dataclass(frozen=True)
class Room:
    """What records of a dataset have room for: `data.clips.ClipShape` says it of its datasets.

    Attributes:
        slots: subjects.
        spans: rows of intervals of each of them.
        views: pictures of each of them.
        events: rows of events; None where a dataset has none.
        cuts: rows of cuts; None where a dataset has none.
    """

    slots: int
    spans: int
    views: int
    events: int | None
    cuts: int | None = None


@dataclass(frozen=True, eq=False)
class ShapedClip:
    """A clip of `data.clips`: a dict of features."""

    record: dict[str, Any]

    def scene(self, stride: int = 1) -> Scene:
        """See `AnyClip`."""
        frames, *size = self.record["video"].shape[:3]
        scene = read_scene(self.record, Clock(float(self.record["fps"]), frames, stride))
        return dataclasses.replace(scene, size=tuple(size))

    @property
    def pictures(self) -> list[AnyPicture]:
        """Its references, which are drawn elsewhere."""
        views = self.record["references"][: int(self.record["n_subjects"])]
        return [_View(view, slot) for slot, own in enumerate(views) for view in own]

    def frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """See `AnyClip`."""
        for frame in self.record["video"][start:stop]:
            if size is None or frame.shape[:2] == tuple(size):
                yield frame
            else:
                image = Image.fromarray(frame)
                yield np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS))


@dataclass(frozen=True, eq=False)
class _View:
    rgb: np.ndarray
    subject: int
    kind: str = "redux"
    frame: int = ELSEWHERE

    def pixels(self) -> UInt8[np.ndarray, "h w 4"]:
        """Opaque."""
        return np.dstack([self.rgb, np.full(self.rgb.shape[:2], 255, np.uint8)])


class ShapedClips(Sequence[ShapedClip]):
    """The clips of a split of `data.clips`."""

    def __init__(self, source: clips.ClipSource):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return ShapedClip(self._source[index])


def open_clips(data_dir: Path | str, split: str) -> ShapedClips | TimedClips:
    """The clips of a split of a dataset of either kind.

    Raises DataError if there is none, or it is broken.
    """
    if is_timed_clips(data_dir):
        return open_timed_clips(data_dir, split)
    return ShapedClips(clips.open_split(data_dir, split))


def open_source(data_dir: Path | str) -> tuple[dict[str, ShapedClips | TimedClips], Room | None]:
    """The splits of a dataset of either kind; and what its records have room for, if it says so.

    Raises DataError if there is none, or it is broken.
    """
    found = {split: open_clips(data_dir, split) for split in clips.splits(data_dir)}
    first = next((source for source in found.values() if len(source)), None)
    if first is None:
        return {}, None
    if not isinstance(first, ShapedClips):
        return found, None
    record = first[0].record
    slots, spans = record["intervals"].shape[:2]
    events = len(record["events"]) if "events" in record else None
    cuts = len(record["cuts"]) if "cuts" in record else None
    return dict(found), Room(slots, spans, record["references"].shape[1], events, cuts)
