r"""Whether a model learns from annotated videos as it does from the dataset that knows the truth.

    python -m studies.annotated_sprites --work runs/annotated_sprites --clips 1000 --steps 400 \
        --limit 64 --out runs/annotated_sprites.json

Sprites clips are written as mp4 with their captions beside them, annotated (`alchemint annotate`)
and encoded; as many are written by the dataset's builder and encoded. From the bundled weights, and
with one recipe, a model goes on with each. Both then render the same boards from the same noise.
Everything lies in `--work`, and a command that was stopped goes on there.

What is not alike: an annotated clip has pictures of itself as references, where the builder draws
others; and all subjects of it differ in colour, which its words say, for by it they are detected.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import arguments, cli, media, results
from alchemint_jax.annotate import annotate
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.outputs import check_outputs
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.worlds.sprites import World, sample_clip
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from studies import sprite_eyes

ARMS = ("builder", "annotated")
FIGURES = ("t_iou", "t_l2", "identity")
WORLD = World()
TRACKER = SpritesTracker()
_UNCUT = 255.0  # a threshold that no clip reaches: each is one shot
_FIRST = 10**6  # the first clip of the world that is a video: none of the builder's


def film(folder: Path, count: int) -> None:
    """Writes clips and their captions, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = (sample_clip(index) for index in itertools.count(_FIRST))
    for number, clip in enumerate(itertools.islice(filter(sprite_eyes.by_color, clips), count)):
        text, video = folder / f"{number:05}.txt", folder / f"{number:05}.mp4"
        if not text.is_file():
            media.write_video(video, clip.video, WORLD.fps, upscale=sprite_eyes.UPSCALE)
            media.write_bytes(text, sprite_eyes.colored(clip)[0].encode())


def prepare(work: Path, clips: int) -> None:
    """Makes what each arm trains on."""
    _run("data", "sprites", "--out", str(work / "builder"), "--clips", str(clips))
    film(work / "videos", clips)
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
        *("--slots", str(WORLD.max_subjects), "--views", str(WORLD.views)),
    )


def train(work: Path, arm: str, steps: int) -> Path:
    """Goes on from the bundled weights with the data of one arm; returns the model's directory."""
    workdir = work / f"{arm}_run"
    every = max(1, steps // 4)
    fields = {
        "data": work / f"{arm}_latents",
        "vae": "sprites",
        "init_from": "sprites",
        "train.total_steps": steps,
        "train.optimizer.total_steps": steps,
        "train.optimizer.warmup_steps": min(60, steps // 8),
        "train.validate_every": 0,
        "train.sample_every": 0,
        "train.checkpoint_every": every,
    }
    chosen = [f"--config.{name}={value}" for name, value in fields.items()]
    _run("train", "--config", "configs/sprites.py", "--workdir", str(workdir), *chosen)
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
    parser.add_argument("--clips", type=count, default=1000, help="of each dataset")
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
        prepare(args.work, args.clips)
        models = {arm: train(args.work, arm, args.steps) for arm in ARMS}
        found = measure(models, args.limit, args.seed, args.sampling)
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    chosen = {name: getattr(args, name) for name in ("clips", "steps", "limit", "seed", "sampling")}
    results.write_json(args.out, {**chosen, **found})
    for name, change in found["differences"].items():
        print(name, change)
    return 0


if __name__ == "__main__":
    sys.exit(main())
