"""Paths of a model from noise to clips: what a student of fewer steps is trained on.

    DIR/paths.json                                     the card: what it is; written last
    DIR/SPLIT/SPLIT-00000-of-00010.array_record        records of a split

A record holds `states` float16 [n+1 t h w c], where the teacher was at the n levels of the student
and at the end, and what it was told, by the names of `loader.latent_loader` with `cached_text`. All
of it comes from storyboards: no clips are needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grain
import numpy as np
from jaxtyping import Float16

from alchemint_jax import places
from alchemint_jax.data import records, whole
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.data.loader import LoaderConfig, pipeline
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.data.text_states import as_half, shard_names
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.flow import Grid
from alchemint_jax.progress import Progress
from alchemint_jax.scene.packing import pack, pack_events
from alchemint_jax.scene.scene import Scene

if TYPE_CHECKING:
    from alchemint_jax.models.dit.conditioning import Conditions
    from alchemint_jax.sampling.pipeline import Pipeline
    from alchemint_jax.sampling.settings import Plan

MARK = "paths.json"
KIND = "teacher_paths"
SCHEMA = 1
HELD_OUT = 16
"""One board in so many, the last ones, is held out for validation."""
_FIELDS = ("text", "null_text", "references", "used", "intervals", "tags", "tag_mask")
_EVENTS = {"events": "states", "event_used": "used"}
_EVENTS |= {"event_intervals": "intervals", "null_event": "null"}
_STATES = ("text", "null_text", "references", "tags", "events", "null_event")
_NO_TIME = np.array([1.0, 0.0], np.float32)  # an empty row of latent intervals


@dataclasses.dataclass(frozen=True)
class Boards:
    """The boards of a set of paths.

    Attributes:
        name: of the world or the file that they are of.
        seed: that they were drawn from, and that draws the noise of each.
        scenes: what the teacher is asked for, all of one size and length.
    """

    name: str
    seed: int
    scenes: Sequence[Scene]


def write_paths(
    pipe: Pipeline,
    model: Path | str,
    boards: Boards,
    out: Path | str,
    teacher: Plan,
    steps: int,
    *,
    batch: int = 8,
    shard: int = 64,
) -> Path:
    """Renders boards with a teacher and writes down the latents on its way.

    `out` appears only when it is whole; an interrupted run goes on after its last finished shard.
    Returns `out`, at once if it already holds these very paths.

    Args:
        pipe: the teacher.
        model: its directory, or the name of a bundled model.
        boards: what it is asked for.
        out: the directory to write.
        teacher: how it is sampled. Its guidance becomes the student's, which then needs one pass.
        steps: of the student, in Euler's way, at the shift and on the grid of the teacher.
        batch: boards rendered at a time.
        shard: boards in a file.

    Raises:
        ConfigError: the student's levels are not among those of the teacher, the teacher continues
            pictures, takes them on a canvas or has two experts, or a board has keyframes.
        DataError: there are fewer than two boards, or there is something else at `out`.
        NonFiniteError: the teacher gave NaN or infinity.
    """
    out, scenes = places.local(out), boards.scenes
    if len(scenes) < 2:
        raise DataError(f"{boards.name}: there must be two boards at least, one of them held out")
    if pipe.keyframes:
        raise ConfigError(f"{model}: continues pictures; such a model can have no student here")
    if pipe.models.low is not None:
        raise ConfigError(f"{model}: has two experts; such a model can have no student here")
    if pipe.canvas:
        raise ConfigError(
            f"{model}: takes pictures on a canvas; such a model can have no student here"
        )
    for scene in scenes:
        if scene.given_at:
            raise ConfigError(
                f"{scene.id}: has keyframes, which no student is told; leave such boards out"
            )
    student = dataclasses.replace(teacher, steps=steps, solver="euler").levels()
    kept = levels_kept(teacher.levels(), student)
    validation = max(1, len(scenes) // HELD_OUT)
    wanted = {
        "kind": KIND,
        "schema": SCHEMA,
        "model": fingerprints(model),
        "teacher": dataclasses.asdict(teacher),
        "grid": describe(student),
        "boards": {"name": boards.name, "seed": boards.seed, "sha256": digest(pipe, scenes)},
        "splits": {"train": len(scenes) - validation, "validation": validation},
        "shard": shard,
    }
    wanted = json.loads(json.dumps(wanted))  # as it is read again
    partial = whole.begin(out, wanted, MARK)
    if partial is None:
        return out
    record: dict[str, Any] = {}
    with Progress(len(scenes), "following the teacher") as progress:
        done = 0
        for split, first in (("train", 0), ("validation", wanted["splits"]["train"])):
            count = wanted["splits"][split]
            for i, name in enumerate(shard_names(split, count, shard)):
                numbers = range(first + i * shard, first + min((i + 1) * shard, count))
                path = partial / split / name
                if not path.is_file():
                    made = _followed(pipe, boards, numbers, teacher, kept, batch, progress)
                    records.write_shard(path, made)
                done += len(numbers)
                progress.update(done)
                record = records.ShardedSource([path])[0]
    shapes = {name: list(x.shape) for name, x in record.items()}
    clock, size = scenes[0].clock, scenes[0].size or pipe.settings.size
    said = {"fps": float(clock.fps), "frames": int(clock.frames), "size": size, "shapes": shapes}
    whole.finish(partial, out, {**wanted, **said}, MARK)
    return out


def levels_kept(teacher: Grid, student: Grid) -> list[int]:
    """At which of the teacher's levels the student is, the end among them.

    Raises:
        ConfigError: it stops, or is told a time, where the teacher does not.
    """
    there = {float(sigma): i for i, sigma in reversed(list(enumerate(teacher.sigmas)))}
    kept = []
    for i, sigma in enumerate(student.sigmas):
        nearest = min(there, key=lambda level: abs(level - float(sigma)))
        j = there[nearest]
        far = abs(nearest - float(sigma))
        if i < len(student.times) and j < len(teacher.times):
            far = max(far, abs(float(student.times[i]) - float(teacher.times[j])))
        if far > 1e-6:
            raise ConfigError(
                f"the student's level {float(sigma):.4f} is not among those of the teacher, who "
                f"takes {len(teacher.times)} steps; give the teacher a multiple of the student's "
                f"{len(student.times)} steps"
            )
        kept.append(j)
    return kept


def describe(grid: Grid) -> dict[str, list[float]]:
    """A grid for JSON."""
    return {name: [round(float(x), 6) for x in getattr(grid, name)] for name in grid._fields}


def fingerprints(model: Path | str) -> dict[str, str]:
    """SHA-256 of the weights of each part of a model that its paths depend on."""
    from alchemint_jax import weights

    folder = weights.locate(model)
    parts = ("transformer", "text_encoder", "vae")
    return {part: fingerprint(weights.component_folder(folder, part)) for part in parts}


def digest(pipe: Pipeline, scenes: Sequence[Scene]) -> str:
    """SHA-256 over all that boards ask for, pictures included."""
    found = hashlib.sha256()
    for scene in scenes:
        size = scene.size or pipe.settings.size
        shown = pipe.settings.reference_size or size
        subjects = [(subject.word, list(subject.spans)) for subject in scene.subjects]
        events = [(event.text, list(event.spans)) for event in scene.events]
        clock = (float(scene.clock.fps), int(scene.clock.frames))
        found.update(json.dumps([scene.caption, clock, list(size), subjects, events]).encode())
        for subject in scene.subjects:
            if subject.spans:
                found.update(subject.picture(shown).tobytes())
    return found.hexdigest()


def _followed(
    pipe: Pipeline,
    boards: Boards,
    numbers: range,
    teacher: Plan,
    kept: Sequence[int],
    batch: int,
    progress: Progress,
) -> Iterator[dict[str, np.ndarray]]:
    """The records of some boards."""
    import jax

    from alchemint_jax.sampling.conditions import latent_shape
    from alchemint_jax.sampling.sample import noise_of

    if any(scene.cuts for scene in boards.scenes):
        raise DataError(f"{boards.name}: has boards with cuts, which paths do not hold")
    widths = {"intervals": pack(boards.scenes, pipe.limits.max_subjects).intervals.shape[2]}
    events = pack_events(boards.scenes).intervals.shape[1]
    widths |= dict.fromkeys(("events", "event_used", "event_intervals"), events)
    for start in range(numbers.start, numbers.stop, batch):
        part = list(boards.scenes[start : min(start + batch, numbers.stop)])
        scenes = part + [part[-1]] * (batch - len(part))  # one size of batch is compiled
        conditions = pipe.conditions(scenes, slots=pipe.limits.max_subjects)
        each = start + np.arange(len(scenes))  # noise goes by the board, however they are batched
        noise = noise_of(jax.random.key(boards.seed), each, latent_shape(pipe, scenes))
        states = _states(pipe, conditions, noise, teacher, kept)
        fields = _fields(conditions)
        for name in widths.keys() & fields.keys():
            fields[name] = _widened(name, fields[name], widths[name])
        for i in range(len(part)):
            yield {"states": states[i], **{name: x[i] for name, x in fields.items()}}
        progress.update(start + len(part))


def _states(
    pipe: Pipeline, conditions: Conditions, noise: Any, teacher: Plan, kept: Sequence[int]
) -> Float16[np.ndarray, "b states t h w c"]:
    """Where the teacher is at the kept levels."""
    from alchemint_jax.sampling.sample import Watch, sample_latents

    found: dict[int, np.ndarray] = {}

    def see(done: int, latents: Any) -> None:
        if done in kept:
            found[done] = np.asarray(latents)

    watch = Watch(see, math.gcd(*kept))
    sample_latents(pipe.models, conditions, noise, teacher, watch=watch)
    return as_half(np.stack([found[at] for at in kept], axis=1), "the teacher gave latents")


def _fields(conditions: Conditions) -> dict[str, np.ndarray]:
    """Conditions of a batch by the names that `latent_loader` has for them, states as halves."""
    found = {name: np.asarray(getattr(conditions, name)) for name in _FIELDS}
    if conditions.events is not None:
        found |= {
            name: np.asarray(getattr(conditions.events, own)) for name, own in _EVENTS.items()
        }
    return {
        name: as_half(x, f"the teacher is told {name}") if name in _STATES else x
        for name, x in found.items()
    }


def _widened(name: str, values: np.ndarray, rows: int) -> np.ndarray:
    """Conditions of a batch with as many rows as those of any board; further ones are empty."""
    axis = 2 if name == "intervals" else 1
    missing = [(0, rows - n if i == axis else 0) for i, n in enumerate(values.shape)]
    wide = np.pad(values, missing)
    if name.endswith("intervals"):
        np.moveaxis(wide, axis, 0)[values.shape[axis] :] = _NO_TIME
    return wide


def read_card(data_dir: Path | str) -> dict[str, Any]:
    """The card of a set of paths.

    `model` is the teacher's, by part, `teacher` how it was sampled, `grid` that of the student,
    `boards`, `splits` with the records of each, `shapes` of the fields of a record, and `fps`,
    `frames` and `size` of the boards.

    Raises DataError if there is no such set.
    """
    return whole.read_card(
        data_dir, MARK, KIND, SCHEMA, "set of a teacher's paths", "alchemint data paths"
    )


def path_loader(
    data_dir: Path | str, split: str, config: LoaderConfig, share: Share = WHOLE
) -> grain.IterDataset:
    """Batches of paths: the fields of records, in float32 where they are of halves.

    Raises DataError if there are none, and ConfigError if `share` does not fit.
    """
    return pipeline(open_split(data_dir, split), _Floats(), config, share)


def open_split(data_dir: Path | str, split: str) -> records.ShardedSource:
    """The records of a split.

    Raises DataError if there are none.
    """
    card = read_card(data_dir)
    folder = places.place(data_dir) / split
    names = shard_names(split, card["splits"][split], card["shard"])
    if missing := places.absent(folder, names):
        raise DataError(f"{folder}: {missing[0]} is missing; make the paths again")
    return records.ShardedSource([folder / name for name in names])


class _Floats(grain.transforms.RandomMap):
    """Halves to floats; nothing is random about a path."""

    def random_map(
        self, element: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        del rng
        return {
            name: x.astype(np.float32) if x.dtype == np.float16 else x
            for name, x in element.items()
        }
