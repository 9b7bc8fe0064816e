"""The TFDS dataset `timed_sprites`: the sprites world on disk (ArrayRecord, no TensorFlow).

Record `i` of a split is clip `i` of that split's seed, so a dataset can be remade bit by bit from
(clips, seed, validation). `data.open_split` reads it; its files also open with
`tfds.builder_from_directory`, where the directory is the one that holds `dataset_info.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from alchemint_jax.data import records
from alchemint_jax.data.clip_writer import Info, prepare
from alchemint_jax.data.clips import ClipShape
from alchemint_jax.data.examples import padded
from alchemint_jax.errors import DataError
from alchemint_jax.places import local
from alchemint_jax.progress import Progress
from alchemint_jax.scene.clock import WAN_STRIDE
from alchemint_jax.worlds.sprites.world import Clip, World, sample_clip

INTERVALS = 2
"""Rows of intervals that a record keeps for each subject."""

EVENTS = 2
"""Rows of events that a record keeps, where the dataset has events."""

CUTS = 2
"""Rows of cuts that a record keeps, where the dataset has cuts."""

SPLITS = ("train", "validation")

_MARK = "sprites.json"
_SEED_BASE = 2**20


def split_seed(seed: int, split: str) -> int:
    """The world seed of a split; seeds below 2**20 are in no dataset and free for benchmarks."""
    return _SEED_BASE + 2 * seed + SPLITS.index(split)


@dataclasses.dataclass
class SpritesConfig(tfds.core.BuilderConfig):
    """How many clips to draw, from which seed, how long they are, and whether with events."""

    clips: int = 1024
    validation: int = 51
    seed: int = 0
    frames: int = World.frames
    events: bool = False
    cuts: bool = False
    worded: bool = False

    @property
    def world(self) -> World:
        """The world that clips are drawn from."""
        if self.worded:
            return World.of_words(self.frames)
        if self.events:
            return dataclasses.replace(World.eventful(), cuts=self.cuts)
        return World() if self.frames == World.frames else World.short(self.frames)


class TimedSprites(tfds.core.GeneratorBasedBuilder):
    """Textured shapes on screen for exactly known intervals, with references and a caption."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS = [SpritesConfig(name="small", description="1024 clips of seed 0")]
    # TFDS looks this up with `importlib_resources`, which it installs only on Python < 3.9.
    code_path = epath.Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        world = self.builder_config.world
        text = tfds.features.Sequence(tfds.features.Text(), length=world.max_subjects)
        features = _shape(world).features(looks={"shape": text, "color": text, "texture": text})
        return Info(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        config = self.builder_config
        counts = (config.clips, config.validation)
        return {
            split: self._generate_examples(split_seed(config.seed, split), count, split)
            for split, count in zip(SPLITS, counts, strict=True)
        }

    def _generate_examples(
        self, seed: int, count: int, split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        world = self.builder_config.world
        with Progress(count, f"sprites {split}") as progress:
            for index in range(count):
                yield index, _example(sample_clip(index, seed, world), index, world)
                progress.update(index + 1)


def _shape(world: World) -> ClipShape:
    return ClipShape(
        frames=world.frames,
        size=(world.size, world.size),
        view_size=(world.view_size, world.view_size),
        slots=world.max_subjects,
        views=world.views,
        spans=INTERVALS,
        events=EVENTS if world.events else None,
        cuts=CUTS if world.cuts else None,
    )


def _example(clip: Clip, index: int, world: World) -> dict[str, Any]:
    looks = {
        key: padded([getattr(look, key) for look in clip.looks], world.max_subjects)
        for key in ("shape", "color", "texture")
    }
    return {**_shape(world).record(clip.scene, clip.video, index), "looks": looks}


def write_sprites(
    out: Path | str,
    clips: int,
    seed: int = 0,
    validation: int | None = None,
    frames: int = World.frames,
    events: bool = False,
    cuts: bool = False,
    worded: bool = False,
) -> Path:
    """Draws the dataset into the new directory `out`, which appears only when it is whole.

    `validation` defaults to a twentieth of `clips`, between 1 and 256. Clips of fewer `frames` than
    the world's 33 are those of `World.short`: 1 gives pictures. Those with `events` are of
    `World.eventful`, and records say what happens when; with `cuts`, too, some of them have several
    shots. Those that are `worded` are of `World.of_words`: their captions say who is there. Returns
    `out`, at once if it already holds this very dataset. Raises DataError if something else is
    there, or if it cannot be written.
    """
    out = local(out)
    if not (1 <= frames <= World.frames and World.short(frames).clock.whole):
        raise DataError(f"frames must be {WAN_STRIDE}k+1 and at most {World.frames}, got {frames}")
    if events and frames != World.frames:
        raise DataError(f"clips with events have {World.frames} frames, not {frames}")
    if cuts and not events:
        raise DataError("clips with cuts have events, too; ask for both")
    if worded and events:
        raise DataError("worded clips have no events; ask for one of both")
    if clips < 1 or seed < 0 or (validation is not None and validation < 1):
        wrong = f"{clips=}, {validation=}, {seed=}"
        raise DataError(f"clips and validation must be at least 1 and seed at least 0, got {wrong}")
    validation = max(1, min(256, clips // 20)) if validation is None else validation
    wanted = {
        "dataset": "timed_sprites",
        "version": str(TimedSprites.VERSION),
        "clips": clips,
        "validation": validation,
        "seed": seed,
        "frames": frames,
        **({"events": True} if events else {}),
        **({"cuts": True} if cuts else {}),
        **({"worded": True} if worded else {}),
    }
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if (out / _MARK).is_file() and (found := records.read_json(out / _MARK)) == wanted:
            return out
        what = f"another dataset ({found})" if (out / _MARK).is_file() else "something else"
        raise DataError(f"{out}: holds {what}; choose another directory or remove it first")
    kind = "_events" * events + "_cuts" * cuts + "_worded" * worded
    config = SpritesConfig(
        name=f"clips_{clips}_seed_{seed}_frames_{frames}{kind}",
        clips=clips,
        validation=validation,
        seed=seed,
        frames=frames,
        events=events,
        cuts=cuts,
        worded=worded,
    )

    def builder(folder: str) -> TimedSprites:
        return TimedSprites(data_dir=folder, config=config, file_format="array_record")

    prepare(out, builder, sprites=wanted)
    return out
