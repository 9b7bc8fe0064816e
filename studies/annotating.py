r"""How fast videos are annotated, decoded and packed, and what memory a long one takes.

    python -m studies.annotating --work runs/annotating --out docs/results/annotating.json
    python -m studies.annotating --work runs/annotating --minutes 5 30 --out runs/lengths.json

Films of 1280 x 720 pixels at 30 frames per second are put together from the pictures of the
benchmark `everyday`, two subjects in each. `alchemint annotate` takes them through all stages with
the embedded perceivers, in two processes: as it does by itself, and once more searching every
frame, to see how far the spans of both differ. Decoding and packing are measured in this process,
on one core. With --minutes, films of so many minutes are made by repeating a small one, to see the
memory that they take.

Processor seconds say what is needed whatever else runs; times real time are of the clock, on a
machine that should have nothing else to do. `load_before` is the number of other processes that
were running.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alchemint_jax import arguments, media, results
from alchemint_jax.annotate.timeline import frames, timeline
from alchemint_jax.data.timed_clips import TimedClip, write_timed_clips
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import boards
from alchemint_jax.evaluate.cases import read_benchmark
from alchemint_jax.outputs import check_outputs
from alchemint_jax.worlds.named import tracker
from studies import processes, scoring

SIZE = (720, 1280)
SMALL, SLOW = (144, 256), 6
"""Height, width and frames per second of the long film, which is about its length alone."""
WORKERS = 2
EVERY = ("--config.detect.every=0.001", "--config.detect.skip=0")
SELDOM = ("--config.detect.every=2.0", "--config.detect.network=224")
_CLIP = 2**22  # bytes of a clip that is packed
_PACKED = 96  # clips


def films(folder: Path, count: int) -> list[Path]:
    """Films of the first boards of `everyday` that have two subjects, those that are not there."""
    file = boards.find("everyday")
    assert file is not None
    folder.mkdir(parents=True, exist_ok=True)
    found = read_benchmark(file, tracker("sprites"), None).boards
    pairs = ((name, board) for name, board in found if len(board.subjects) == 2)
    made = []
    for seed, (name, board) in enumerate(itertools.islice(pairs, count)):
        made.append(folder / f"{name}.mp4")
        if not made[-1].is_file():
            media.write_video(made[-1], resized(scoring.film(board, seed), SIZE), scoring.FPS)
    return made


def resized(
    video: UInt8[np.ndarray, "f h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "f h2 w2 3"]:
    """A video in another size."""
    return np.stack([np.asarray(Image.fromarray(one).resize(size[::-1])) for one in video])


def repeated(path: Path, out: Path, minutes: float) -> Path:
    """A small film of so many minutes: that of a file, slower, over and over."""
    import av

    one = resized(np.stack([frame for _, frame in frames(path, _all(path))]), SMALL)
    loops = round(60 * minutes * SLOW / len(one))
    part = out.with_suffix(".part.mp4")
    media.write_video(part, one, SLOW)
    with av.open(str(out), "w") as written:
        made: Any = None
        for loop in range(loops):
            with av.open(str(part)) as read:
                stream = read.streams.video[0]
                made = made or written.add_stream_from_template(stream)
                assert stream.time_base is not None
                shift = round(Fraction(loop * len(one), SLOW) / stream.time_base)
                for packet in read.demux(stream):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = made
                        written.mux(packet)
    part.unlink()
    return out


def _all(path: Path) -> range:
    return range(len(timeline(path).stamps))


def annotated(source: Path, out: Path, *more: str) -> dict[str, Any]:
    """Seconds and largest process of `alchemint annotate`, from nothing, and when who is there."""
    shutil.rmtree(out, ignore_errors=True)
    load = os.getloadavg()[0]
    taken = processes.run("-m", "alchemint_jax", "annotate", str(source), "--out", str(out), *more)
    lines = list(map(json.loads, (out / "scenes.jsonl").read_text("utf-8").splitlines()))
    shown = sum(line["frames"] / line["fps"] for line in lines)
    return {
        "scenes": len(lines),
        "kept": sum(line["status"] == "ok" for line in lines),
        "subjects": sum(len(line["subjects"]) for line in lines),
        "video_seconds": shown,
        "seconds": taken.seconds,
        "processor_seconds": taken.processor_seconds,
        "processor_seconds_per_second": taken.processor_seconds / shown,
        "times_real_time": shown / taken.seconds,
        "load_before": load,
        "largest_process_mib": taken.largest_process_mib,
    }


def spans(out: Path) -> dict[str, list[list[list[int]]]]:
    """When the subjects of each video of an annotation are on screen, sorted."""
    lines = map(json.loads, (out / "scenes.jsonl").read_text("utf-8").splitlines())
    return {line["id"]: sorted(one["frames"] for one in line["subjects"]) for line in lines}


def apart(first: dict[str, Any], second: dict[str, Any]) -> dict[str, int]:
    """How far spans are from those of another annotation of the same videos, in frames."""
    pairs = [
        pair
        for name in first | second
        for pair in itertools.zip_longest(first.get(name, []), second.get(name, []))
    ]
    alike = [(a, b) for a, b in pairs if a and b and len(a) == len(b)]
    off = [int(np.abs(np.array(a) - np.array(b)).max()) for a, b in alike]
    return {
        "subjects": len(pairs),
        "alike": len(alike),
        "within_two_frames": sum(one <= 2 for one in off),
        "worst": max(off, default=0),
    }


def decoded(paths: Sequence[Path]) -> dict[str, Any]:
    """Frames in a second of one core, to RGB, at 480 x 854 pixels."""
    small = [path.with_name(f"{path.stem}-480.mp4") for path in paths]
    for path, one in zip(paths, small, strict=True):
        if not one.is_file():
            video = np.stack([frame for _, frame in frames(path, _all(path))])
            media.write_video(one, resized(video, scoring.SIZE), scoring.FPS)
    begun, count = time.process_time(), 0
    for one in small:
        count += sum(1 for _ in frames(one, _all(one)))
    seconds = time.process_time() - begun
    for one in small:
        one.unlink()
    return {"frames": count, "frames_per_processor_second": count / seconds}


def packed(folder: Path) -> dict[str, Any]:
    """Megabytes (10^6 bytes) of clips in a second into a dataset `timed_clips`."""
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    line = {"source": "a.mp4", "fps": 30.0, "frames": 90, "size": list(SIZE), "caption": "a"}
    more = {"subjects": [], "events": [], "dropped": [], "status": "ok"}
    clips = [TimedClip({"id": str(i), **line, **more}, rng.bytes(_CLIP)) for i in range(_PACKED)]
    write_timed_clips(folder / "first", {"train": clips[:1]}, {"of": "noise"})  # imports TFDS
    folder = folder / "timed"
    clock, processor = time.monotonic(), time.process_time()
    write_timed_clips(folder, {"train": clips}, {"of": "noise"})
    clock, processor = time.monotonic() - clock, time.process_time() - processor
    shutil.rmtree(folder.parent)
    size = _CLIP * _PACKED / 1e6
    return {
        "megabytes": size,
        "megabytes_per_second": size / clock,
        "megabytes_per_processor_second": size / processor,
    }


def lasting(path: Path, minutes: int, work: Path, out: Path) -> dict[str, Any]:
    """What a long film takes, in one process that looks at a small frame in every two seconds."""
    film = repeated(path, work / f"{minutes}.mp4", minutes)
    return {"minutes": minutes, **annotated(film, out, "--workers", "1", *SELDOM)}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--films", type=arguments.whole(1), default=8, help="of two subjects each")
    long = "annotate films of so many minutes, and nothing else"
    parser.add_argument("--minutes", type=arguments.whole(1), nargs="+", help=long)
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    try:
        media.check_writable(args.out)
        check_outputs([("--out", args.out)], [("--work", args.work)])
        folder, made = args.work / "films", args.work / "scenes"
        paths = films(folder, args.films)
        found: dict[str, Any] = {"processors": os.cpu_count()}
        if args.minutes:
            found["lengths"] = [
                lasting(paths[-1], minutes, args.work, made) for minutes in args.minutes
            ]
        else:
            how = ["--workers", str(WORKERS)]
            found["decoding"] = decoded(paths)
            found["packing"] = packed(args.work / "packed")
            annotated(folder, made, *how)  # compiles what is then there
            found["annotating"] = annotated(folder, made, *how)
            usual = spans(made)
            found["every_frame"] = annotated(folder, made, *how, *EVERY)
            found["apart"] = apart(usual, spans(made))
    except AlchemintError as error:
        parser.error(str(error))
    results.write_json(args.out, found)
    print(results.to_json(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
