r"""Whether a model learns from annotated videos as it does from the dataset that knows the truth.

    . launch/env_cpu.sh
    python -m studies.annotated_sprites --work runs/annotated_sprites --clips 600 --steps 56 \
        --limit 48 --sampling 5 --out docs/results/annotated_sprites.json

Sprites clips are written as mp4 with their captions beside them, annotated (`alchemint annotate`)
and encoded. The same clips are written with what the world knows of them, as its builder writes
them, and encoded. From the bundled weights, and by the recipe of configs/sprites_schemes.py with
its high rates, a model goes on with each: it sees the same clips in the same order. Both then
render the same boards from the same noise. Everything lies in `--work`, and a command that was
stopped goes on there.

Each video is a clip, and then the same clip backwards. It gives two windows, and the pictures of
subjects in one of them are from the other one. It is counted how far spans are from the truth, and
how many subjects have pictures from their own window.

What is not alike: an annotated clip has pictures of itself as references, where the world draws
others. They are cut out, and varied as the world varies its drawings. All subjects of a clip differ
in colour, for by it they are followed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import arguments, cli, media, results
from alchemint_jax.annotate import annotate
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.data import ClipShape, clips, write_clips
from alchemint_jax.data.encoded import open_encoded
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.outputs import check_outputs
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import World, sample_clip
from alchemint_jax.worlds.sprites.builder import INTERVALS
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from alchemint_jax.worlds.sprites.world import Clip
from studies import sprite_eyes

CONFIG = "configs/sprites_schemes.py:FittedRope"
ARMS = ("builder", "annotated")
FIGURES = ("t_iou", "t_l2", "identity")
WORLD = World()
TRACKER = SpritesTracker()
PICTURES = ("--kinds", "segment=1", "--variation", "flip=0,hue=0,rotate=34,zoom=0.5:0.72")
"""Of sprites alone, turned and as large as those that the world draws, in which colour counts."""
_UNCUT = 255.0  # a threshold that no clip reaches: each is one shot
_TRUTH = "sprites_halves"  # the name of the dataset
_FIRST = 10**6  # the first clip of the world that is a video: none of the builder's


def films(count: int) -> Iterator[Clip]:
    """Clips to make videos of: subjects differ in colour, and are not new in the last second."""
    clips = (sample_clip(index) for index in itertools.count(_FIRST))
    return itertools.islice(filter(_suits, clips), count)


def _suits(clip: Clip) -> bool:
    starts = [
        subject.spans[0][0] if subject.spans else WORLD.frames for subject in clip.scene.subjects
    ]
    return sprite_eyes.by_color(clip) and max(starts) < WORLD.frames - WORLD.fps


def film(folder: Path, count: int) -> None:
    """Writes videos and their captions, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(films(count)):
        text, video = folder / f"{number:05}.txt", folder / f"{number:05}.mp4"
        if not text.is_file():
            frames, caption, _ = sprite_eyes.there_and_back(clip)
            media.write_video(video, frames, WORLD.fps, upscale=sprite_eyes.UPSCALE)
            media.write_bytes(text, caption.encode())


def write_truth(folder: Path, count: int) -> None:
    """Writes the halves of the videos as a dataset with what the world knows of them."""
    if folder.is_dir():
        if clips.name(folder) != _TRUTH or len(clips.open_split(folder, "train")) != 2 * count:
            raise AlchemintError(f"{folder}: holds other clips; choose another --work")
        return
    shape = ClipShape(
        frames=WORLD.frames,
        size=(WORLD.size, WORLD.size),
        view_size=(WORLD.view_size, WORLD.view_size),
        slots=WORLD.max_subjects,
        views=WORLD.views,
        spans=INTERVALS,
    )
    write_clips(folder, _TRUTH, shape, {"train": halves(count)})


def halves(count: int) -> Iterator[tuple[Scene, UInt8[np.ndarray, "f h w 3"]]]:
    """Both halves of each of the first videos, and what the world knows of them."""
    length = WORLD.frames
    for number, clip in enumerate(films(count)):
        video, caption, spans = sprite_eyes.there_and_back(clip)
        for first in (0, length):
            subjects = tuple(
                dataclasses.replace(subject, spans=_part(own, first))
                for subject, own in zip(clip.scene.subjects, spans, strict=True)
            )
            name = f"{number:05} from {first}"
            scene = dataclasses.replace(clip.scene, id=name, caption=caption, subjects=subjects)
            yield scene, video[first : first + length]


def _part(spans: Spans, first: int) -> Spans:
    """Spans in the half that begins with a frame."""
    rows: np.ndarray = np.clip(np.array(spans).reshape(-1, 2) - first, 0, WORLD.frames)
    return Spans(rows)


def prepare(work: Path, videos: int) -> None:
    """Makes what each arm trains on: the halves of so many videos."""
    write_truth(work / "builder", videos)
    film(work / "videos", videos)
    eyes = Perceivers(
        sprite_eyes.SpriteDetector(),
        sprite_eyes.SpriteSegmenter(),
        sprite_eyes.SpriteEmbedder(),
        ContentShots(_UNCUT),
    )
    annotate(work / "videos", work / "scenes", sprite_eyes.SETTINGS, workers=0, perceivers=eyes)
    encode = ["data", "encode", "--vae", "sprites"]
    _run(*encode, "--data", str(work / "builder"), "--out", str(work / "builder_latents"))
    size, view = WORLD.size, WORLD.view_size
    _run(
        *encode,
        *("--data", str(work / "scenes" / "dataset"), "--out", str(work / "annotated_latents")),
        *("--buckets", f"{WORLD.frames}x{size}x{size}", "--reference-size", f"{view}x{view}"),
        *("--slots", str(WORLD.max_subjects), "--views", str(WORLD.views), "--windows", "2"),
        *("--outside-only", *PICTURES),
    )


def check_spans(scenes: Path, count: int) -> dict[str, int]:
    """How many spans are right, and how many frames the worst one is off.

    Args:
        scenes: what `annotate` wrote of the videos of `film`.
        count: of these videos.
    """
    lines = map(json.loads, scenes.read_text("utf-8").splitlines())
    found = {line["source"]: line for line in lines if line["status"] == "ok"}
    counts = {"videos": count, "annotated": len(found), "subjects": 0, "missed": 0}
    counts |= {"spans": 0, "exact": 0, "within_one_frame": 0, "worst": 0}
    for number, clip in enumerate(films(count)):
        line = found.get(f"{number:05}.mp4", {"subjects": []})
        seen = {subject["word"]: subject["frames"] for subject in line["subjects"]}
        truth = sprite_eyes.there_and_back(clip)[2]
        for subject, spans in zip(clip.scene.subjects, truth, strict=True):
            counts["subjects"] += 1
            word = subject.word
            if len(seen.get(word, ())) != len(spans):
                counts["missed"] += 1
                continue
            for off in np.abs(np.array(seen[word]) - np.array(spans)).max(1).tolist():
                counts["spans"] += 1
                counts["exact"] += off == 0
                counts["within_one_frame"] += off <= 1
                counts["worst"] = max(counts["worst"], off)
    return counts


def check_references(latents: Path) -> dict[str, int]:
    """How many subjects of windows have pictures from outside of their window, or from inside."""
    records = open_encoded(latents, "train")
    return dict(
        Counter(one for i in range(len(records)) for one in records[i]["reference_sources"])
    )


def train(work: Path, arm: str, steps: int) -> Path:
    """Goes on from the bundled weights with the data of one arm; returns the model's directory."""
    workdir = work / f"{arm}_run"
    fields = {
        "data": work / f"{arm}_latents",
        "init_from": "sprites",
        "train.total_steps": steps,
        "train.optimizer.total_steps": steps,
        "train.optimizer.warmup_steps": min(60, steps // 8),
        "train.validate_every": 0,
        "train.checkpoint_every": max(1, steps // 4),
    }
    chosen = [f"--config.{name}={value}" for name, value in fields.items()]
    _run("train", "--config", CONFIG, "--workdir", str(workdir), *chosen)
    if not (workdir / "export").is_dir():  # it was asked to stop, and has saved what it had
        raise KeyboardInterrupt
    return workdir / "export"


def _run(*words: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        if cli.main(list(words)):
            raise AlchemintError(f"alchemint {' '.join(words[:2])} failed; see above")


def measure(models: dict[str, Path], limit: int, seed: int, sampling: int | None) -> dict[str, Any]:
    """The figures of each arm, and of what is annotated less the builder's, board by board."""
    cases = sprites_cases(limit, seed)
    titles = scores.measures(TRACKER)
    rows: dict[str, list[dict[str, Any]]] = {}
    for arm, model in models.items():
        pipe = Pipeline.load(str(model))
        videos = render(pipe.render, cases, seed=seed, steps=sampling)
        report = scores.score(cases, videos, TRACKER)
        rows[arm] = [row | {"seed": seed} for row in report["rows"]]
    first, second = (rows[arm] for arm in ARMS)
    return {
        "variants": {arm: scores.summarise(own, titles) for arm, own in rows.items()},
        "differences": {name: paired.difference(second, first, name) for name in FIGURES},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    count = arguments.whole(1)
    parser.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--clips", type=count, default=1000, help="of each dataset, two of a video")
    parser.add_argument("--steps", type=count, default=400, help="of training")
    parser.add_argument("--limit", type=count, default=64, help="boards")
    parser.add_argument("--seed", type=arguments.seed, default=7, help="of boards and noise")
    parser.add_argument("--sampling", type=count, help="sampling steps; default: the model's own")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        check_outputs([("--out", args.out)], [("--work", args.work)])
        videos = -(-args.clips // 2)
        prepare(args.work, videos)
        counted = {
            "spans": check_spans(args.work / "scenes" / "scenes.jsonl", videos),
            "references": check_references(args.work / "annotated_latents"),
        }
        models = {arm: train(args.work, arm, args.steps) for arm in ARMS}
        found = measure(models, args.limit, args.seed, args.sampling)
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    chosen = {name: getattr(args, name) for name in ("clips", "steps", "limit", "seed", "sampling")}
    results.write_json(args.out, {**chosen, **counted, **found})
    for name, change in found["differences"].items():
        print(name, change)
    return 0


if __name__ == "__main__":
    sys.exit(main())
