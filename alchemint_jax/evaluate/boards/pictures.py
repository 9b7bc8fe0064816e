"""Where pictures of subjects come from: a folder, annotated clips, or a server that draws them."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import images
from alchemint_jax.annotate.words import category_of
from alchemint_jax.data.timed_clips import is_timed_clips, open_timed_clips
from alchemint_jax.endpoints import PictureClient
from alchemint_jax.errors import AlchemintError, DataError, StoryboardError
from alchemint_jax.evaluate.boards.draft import Picture
from alchemint_jax.perceive import Segmenter
from alchemint_jax.wording import same_word

SIDE = 512
"""Longer sides are scaled down to it."""
FLAT = 2.0
"""Pictures of a smaller standard deviation show nothing: they are the black of a filter, or so."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")

_KINDS = ("segment", "crop", "inpaint")  # of annotated clips, the best first
_MOST = 100_000  # files of a folder

Pixels = UInt8[np.ndarray, "_ _ _"]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A subject that a picture is wanted of.

    Attributes:
        word: what the prompt calls it.
        looks: what it looks like, where that is said.
    """

    word: str
    looks: str = ""

    @property
    def category(self) -> str:
        """Its category in the taxonomy, or its word."""
        return _category(self.word)


@runtime_checkable
class PictureSource(Protocol):
    """Who has pictures of subjects."""

    def find(self, wanted: Wanted, rng: np.random.Generator, taken: set[str]) -> Picture | None:
        """A picture of a subject; None if there is none.

        Args:
            wanted: the subject.
            rng: which of several is taken.
            taken: those that the board has; the one that is found is added.

        Raises:
            AlchemintError: there would be one, but it cannot be had.
        """


@dataclasses.dataclass(frozen=True)
class Shelf:
    """Pictures by word, and how each of them is read.

    Attributes:
        known: for each word, names of pictures and what reads them.
    """

    known: Mapping[str, Sequence[tuple[str, Callable[[], Pixels]]]]

    def find(self, wanted: Wanted, rng: np.random.Generator, taken: set[str]) -> Pixels | None:
        """One of those of the word; else, of its last part or its category. See `PictureSource`.

        Those that cannot be read are passed over, unless all of them are so.
        """
        word, problem = same_word(wanted.word), None
        for name in dict.fromkeys((word, word.rpartition(" ")[2], wanted.category)):
            free = [one for one in self.known.get(name, ()) if one[0] not in taken]
            for i in rng.permutation(len(free)):
                chosen, read = free[i]
                taken.add(chosen)
                try:
                    return read()
                except AlchemintError as error:  # another one may be whole
                    problem = error
        if problem is not None:
            raise problem
        return None


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Pictures that a server draws.

    Attributes:
        client: who asks it.
    """

    client: PictureClient

    def find(self, wanted: Wanted, rng: np.random.Generator, taken: set[str]) -> Pixels | None:
        """A drawing of what it looks like, or of its word. See `PictureSource`."""
        prompt = (
            f"A photograph of one single subject ({wanted.looks or wanted.word}), whole and alone "
            "in the middle of the picture, in front of a plain white background"
        )
        return self.client.draw(prompt, int(rng.integers(2**31)), from_bytes)


@dataclasses.dataclass(frozen=True)
class CutOut:
    """Pictures of another source, of which a segmenter leaves the subject alone.

    Attributes:
        source: where they are from.
        segmenter: who cuts.
    """

    source: PictureSource
    segmenter: Segmenter

    def find(self, wanted: Wanted, rng: np.random.Generator, taken: set[str]) -> Pixels | None:
        """RGBA, as large as the subject. See `PictureSource`."""
        found = self.source.find(wanted, rng, taken)
        if isinstance(found, Path):
            found = read(found)
        return None if found is None else cut_out(found, self.segmenter)


@dataclasses.dataclass(frozen=True)
class First:
    """The first of several sources that has a picture.

    Attributes:
        sources: in the order in which they are asked.
    """

    sources: tuple[PictureSource, ...]

    def find(self, wanted: Wanted, rng: np.random.Generator, taken: set[str]) -> Picture | None:
        """See `PictureSource`."""
        found = (source.find(wanted, rng, taken) for source in self.sources)
        return next((one for one in found if one is not None), None)


def cut_out(picture: Pixels, segmenter: Segmenter, margin: int = 4) -> Pixels:
    """The subject of a picture as RGBA, with a few pixels around it.

    Where the segmenter finds nothing, or takes everything, the whole picture is the subject.
    """
    rgb = np.ascontiguousarray(picture[..., :3])
    height, width = rgb.shape[:2]
    box = np.array([[0, 0, width, height]], np.float32)
    mask = segmenter.segment(rgb[None], box)[0]
    if not 0.02 < mask.mean() < 0.98:
        return picture
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom = max(0, rows[0] - margin), rows[-1] + 1 + margin
    left, right = max(0, columns[0] - margin), columns[-1] + 1 + margin
    rgba = np.dstack([rgb, mask.astype(np.uint8) * 255])
    return np.ascontiguousarray(rgba[top:bottom, left:right])


def from_place(folder: str | Path) -> Shelf:
    """The pictures of a folder.

    It is one of these: pictures that are named by their words (dog.png, "red car-2.jpg", or any
    names in dog/), what `alchemint annotate` wrote, or a dataset `timed_clips`.

    Raises:
        DataError: there is no such folder, or there are no pictures in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of pictures")
    if is_timed_clips(folder):
        entries = _of_dataset(folder)
    elif (folder / "scenes.jsonl").is_file():
        entries = _of_scenes(folder)
    else:
        entries = _of_files(folder)
    known: dict[str, list[tuple[str, Callable[[], Pixels]]]] = {}
    for word, category, name, read in entries:
        for key in dict.fromkeys((same_word(word), category)):
            known.setdefault(key, []).append((name, read))
    if not known:
        raise DataError(
            f"{folder}: holds no pictures; name them by their words (dog.png, red car-2.jpg), or "
            "give a folder that `alchemint annotate` wrote"
        )
    return Shelf(known)


Entry = tuple[str, str, str, Callable[[], Pixels]]
"""A word, its category, the name of a picture, and what reads it."""


def _of_files(folder: Path) -> Iterator[Entry]:
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if len(paths) > _MOST:
        raise DataError(f"{folder}: holds more than {_MOST} pictures; give a smaller folder")
    for path in paths:
        place = path.relative_to(folder)
        named = path.stem if len(place.parts) == 1 else place.parts[0]
        word = same_word(re.sub(r"[-_ ]*\d*$", "", named).replace("_", " ").replace("-", " "))
        if word:
            yield word, _category(word), str(place), functools.partial(read, path)


def _of_scenes(folder: Path) -> Iterator[Entry]:
    for line in _lines(folder / "scenes.jsonl"):
        subjects = line.get("subjects")
        for subject in subjects if isinstance(subjects, list) else ():
            for one in best_pictures(subject):
                path = inside(folder, str(one["file"]))
                if path is not None and path.is_file():
                    word = same_word(str(subject.get("word", "")))
                    yield word, _category(word), str(one["file"]), functools.partial(read, path)


def inside(folder: Path, name: str) -> Path | None:
    """What a name means in a folder; None where it leads out of it, or can be no name."""
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):  # null characters, loops of links
        return None
    return path if path.is_relative_to(folder.resolve()) else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The scenes of a file that are whole; the others are not looked at."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and line.get("status", "ok") == "ok":
                yield line


def best_pictures(subject: Any) -> list[Mapping[str, Any]]:
    """The pictures of an annotated subject that are of the best kind there is."""
    listed = subject.get("pictures") if isinstance(subject, Mapping) else None
    found = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    for kind in _KINDS:
        if some := [one for one in found if one.get("kind") == kind and "file" in one]:
            return some
    return []


def _of_dataset(folder: Path) -> Iterator[Entry]:
    for split in ("train", "validation"):
        try:
            clips = open_timed_clips(folder, split)
        except DataError:
            if split == "train":
                raise
            continue
        for number in range(len(clips)):
            clip = clips[number]
            words = [same_word(str(one.get("word", ""))) for one in clip.line["subjects"]]
            for kind in _KINDS:
                some = [i for i, one in enumerate(clip.pictures) if one.kind == kind]
                for i in some:
                    word = words[clip.pictures[i].subject]

                    def pixels(clips: Any = clips, number: int = number, i: int = i) -> Pixels:
                        return _decoded(clips[number].pictures[i].png, f"picture {i}")

                    yield word, _category(word), f"{split}-{number}-{i}", pixels
                if some:
                    break


def _category(word: str) -> str:
    category = category_of(word)
    return category.name if category else word


def read(path: Path) -> Pixels:
    """A picture that shows something, at most `SIDE` pixels long.

    Raises:
        StoryboardError: it cannot be read.
        DataError: it shows nothing.
    """
    found = images.load_picture(path, SIDE)
    if found.std() < FLAT:
        raise DataError(f"{path}: shows nothing: it is of one colour")
    return found


def _decoded(data: bytes, where: str) -> Pixels:
    try:
        return from_bytes(data)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def from_bytes(data: bytes) -> Pixels:
    """A picture in memory; ValueError for what cannot be used, so that another one is asked for."""
    with tempfile.TemporaryDirectory(prefix="alchemint-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            return read(path)
        except (StoryboardError, DataError) as error:
            raise ValueError(str(error).removeprefix(f"{path}: ")) from None
