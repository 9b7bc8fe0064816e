r"""How fast videos are scored, and how much memory many of them take.

    python -m studies.scoring --work runs/scoring --out docs/results/scoring.json
    python -m studies.scoring --work runs/scoring_many --names 100 1000 \
        --out docs/results/scoring_many.json

Films of 480 x 854 pixels are put together from the pictures of the benchmark `everyday`: subjects
drift through a picture of soft noise while its boards ask for them. `alchemint evaluate --videos`
scores them with the embedded perceivers in two processes. With --videos and --benchmark it scores
others. With --names it scores sets of so many short films of sprites, by the tracker of that world,
to see the memory that they take: all of them are names of a few files, as only numbers count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alchemint_jax import arguments, media, results
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import boards
from alchemint_jax.evaluate.cases import read_benchmark
from alchemint_jax.evaluate.metrics import presence
from alchemint_jax.outputs import check_outputs
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.worlds.named import tracker
from alchemint_jax.worlds.sprites import sprites_clips
from studies import processes

SIZE, FPS = (480, 854), 30
TALL = 0.7  # of the frame, how tall subjects are
WORKERS = 2
FILES = 8  # of sprites, which all names of a set share


def film(board: Storyboard, seed: int) -> UInt8[np.ndarray, "f h w 3"]:
    """A board as a film: subjects side by side, each drifting a little while it asks for them."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    clock = Clock.for_duration(board.duration, FPS, 1)
    coarse = rng.integers(70, 190, (6, 10, 3), dtype=np.uint8)
    ground = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    frames = np.repeat(ground[None], int(clock.frames), 0)
    places = width / len(board.subjects)
    for i, subject in enumerate(board.subjects):
        picture = Image.open(Path(str(subject.image))).convert("RGBA")
        scale = min(TALL * height / picture.height, 0.8 * places / picture.width)
        picture = picture.resize((round(scale * picture.width), round(scale * picture.height)))
        pixels = np.asarray(picture, np.float32)
        alpha, top = pixels[..., 3:] / 255, height - picture.height - 8
        there = presence(clock.spans(subject.appears), len(frames))
        for f in np.flatnonzero(there):
            left = round((i + 0.1) * places + 0.1 * places * f / len(frames))
            part = frames[f, top : top + picture.height, left : left + picture.width]
            part[:] = np.rint(alpha * pixels[..., :3] + (1 - alpha) * part)
    return frames


def films(folder: Path, count: int) -> tuple[Path, Path]:
    """Videos of the first boards of `everyday`, those that are not there yet, and its file."""
    file = boards.find("everyday")
    assert file is not None
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, board) in enumerate(read_benchmark(file, tracker("sprites"), count).boards):
        if not (path := folder / f"{name}.mp4").is_file():
            media.write_video(path, film(board, seed), FPS)
    return folder, file


def links(folder: Path, count: int, seed: int = 0) -> tuple[Path, Path]:
    """So many names of a few films of sprites, and a file of as many boards."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "videos").mkdir(parents=True)
    lines = []
    for i, (scene, video) in enumerate(sprites_clips(FILES, seed)):
        media.write_video(folder / f"{i}.mp4", video, float(scene.clock.fps))
        subjects = []
        for k, subject in enumerate(scene.subjects):
            picture = f"{i}_{k}.png"
            media.write_png(folder / picture, subject.picture((64, 64)))
            appears = [list(span) for span in scene.clock.seconds(subject.spans)]
            subjects.append({"word": subject.word, "image": picture, "appears": appears})
        about = {"prompt": scene.caption, "duration": scene.clock.duration}
        lines.append({**about, "subjects": subjects})
    for number in range(count):
        os.link(folder / f"{number % FILES}.mp4", folder / "videos" / f"{number:04}.mp4")
    rows = [json.dumps({"id": f"{n:04}", **lines[n % FILES]}) for n in range(count)]
    (folder / "boards.jsonl").write_text("\n".join(rows))
    return folder / "videos", folder / "boards.jsonl"


def scored(videos: Path, benchmark: Path, out: Path, *more: str) -> dict[str, Any]:
    """Seconds, largest process, and figures of `alchemint evaluate --videos`, from nothing."""
    shutil.rmtree(out, ignore_errors=True)
    words = ["--videos", str(videos), "--benchmark", str(benchmark), "--out", str(out), *more]
    taken = processes.run("-m", "alchemint_jax", "evaluate", *words)
    report = json.loads((out / "report.json").read_text())
    shown = sum(video["seconds"] or 0.0 for video in report["videos"])
    return {
        "videos": len(report["videos"]),
        "missing": report["settings"]["missing"],
        "video_seconds": shown,
        "seconds": taken.seconds,
        "processor_seconds": taken.processor_seconds,
        "times_real_time": shown / taken.seconds,
        "largest_process_mib": taken.largest_process_mib,
        "t_iou": report["overall"]["t_iou"]["mean"],
        "boundaries": report["boundaries"],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for films and reports")
    parser.add_argument(
        "--films", type=arguments.whole(1), default=24, help="that are put together"
    )
    parser.add_argument("--videos", type=Path, help="score these instead, and nothing else")
    parser.add_argument("--benchmark", type=Path, help="the boards of --videos")
    many = "score sets of so many names of a few short films, and nothing else"
    parser.add_argument("--names", type=arguments.whole(1), nargs="+", help=many)
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    try:
        if (args.videos is None) != (args.benchmark is None):
            raise AlchemintError("--videos and --benchmark belong together")
        media.check_writable(args.out)
        check_outputs([("--out", args.out)], [("--work", args.work), ("--videos", args.videos)])
        how = ["--workers", str(WORKERS)]
        found: dict[str, Any] = {"processors": os.cpu_count()}
        if args.names:
            how += ["--tracker", "sprites"]
            found["sets"] = [
                scored(*links(args.work / "links", count), args.work / "report", *how)
                for count in args.names
            ]
        else:
            which = (args.videos, args.benchmark)
            if args.videos is None:
                which = films(args.work / "films", args.films)
                how += ["--limit", str(args.films)]
            scored(*which, args.work / "first", *how)  # compiles what is then there
            found["films"] = scored(*which, args.work / "report", *how)
    except AlchemintError as error:
        parser.error(str(error))
    results.write_json(args.out, found)
    print(results.to_json(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
