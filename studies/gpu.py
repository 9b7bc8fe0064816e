r"""How fast Wan2.1's 1.3B transformer is on one NVIDIA GPU, beside what we ask of it.

    . launch/env_cuda.sh && python -m studies.gpu --out gpu.json

Clips have 81 frames of 480 x 832 pixels, weights and data are random, and texts are encoded
already. Each part is one call of `alchemint bench` in a process of its own, and all of them take
ten minutes at the most. The result is written again after each part: what fails, or for what there
is no time, takes nothing from the others. The time to compile is told apart.

Elsewhere, to see that it works, with a small config of the same kind, of which nothing is asked:

    python -m studies.gpu --on cpu --config SMALL.py --size 16x32 --frames 5 --out found.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import arguments, media, results
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.outputs import check_outputs

CONFIG, SIZE, FRAMES = "configs/wan_1_3b.py", (480, 832), 81
LEAST = 20.0
"""Seconds: for less than that no part is begun."""
KEPT = 20
"""Lines of what a process said, where it was not done."""
PLATFORMS = {"gpu": "cuda,cpu", "cpu": "cpu"}
"""What JAX is told to use; with the first it may take a CPU after all, which `machine` refuses."""


def _seconds(case: Mapping[str, Any]) -> float:
    return case["ours"]["seconds"]["median"]


def _ratio(case: Mapping[str, Any]) -> float:
    return case["ours_to_ungated"]["ratio"]


def _mfu(case: Mapping[str, Any]) -> float | None:
    return case["ours"]["mfu"]


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing to measure.

    Attributes:
        what: it is, in words.
        words: of `alchemint bench`, beside the config, the size and the frames.
        figure: the figure of a case of its result; None where the device's peak is not known.
        unit: of the figure; none for shares and ratios.
        most: that we ask for.
        least: that we ask for.
        variant: of the config.
        limit: seconds that it may take.
    """

    what: str
    words: str
    figure: Callable[[Mapping[str, Any]], float | None]
    unit: str = ""
    most: float | None = None
    least: float | None = None
    variant: str = ""
    limit: float = 150.0

    def met(self, value: float | None) -> bool | None:
        """Whether this is what we ask for; None where it is not known, or nothing is asked."""
        if value is None or (self.most is None and self.least is None):
            return None
        return (self.most is None or value <= self.most) and (
            self.least is None or value >= self.least
        )


_GATED = "--references 2 --gating --vs ungated --batch 1"
_VIDEO = "--case video --references 2 --batch 1 --repeats 5"
PARTS = {
    "forward": Part(
        "a forward pass of the transformer, without references",
        "--case forward --references 0 --batch 1",
        _seconds,
        "s",
        most=0.50,
    ),
    "gating": Part(
        "self-attention of one layer with two references and their gate, over the same without",
        f"--case attention {_GATED}",
        _ratio,
        most=1.1,
    ),
    "video": Part(
        "a student's four passes and decoding by the whole autoencoder, in tiles, two references",
        _VIDEO,
        _seconds,
        "s",
        most=3.0,
        variant=":fast",
    ),
    "train": Part(
        "MFU of a training step of the whole transformer with two references",
        "--case train --references 2 --batch 1 --repeats 5",
        _mfu,
        least=0.45,
        limit=240.0,
    ),
    "whole": Part(
        "the video of four passes, decoded without tiles",
        f"{_VIDEO} --tile 1024",
        _seconds,
        "s",
        most=3.0,
        variant=":fast",
    ),
    "step": Part(
        "one of these passes with the gate, over the same without",
        f"--case sample {_GATED}",
        _ratio,
        variant=":fast",
    ),
}
"""By name, the ones that matter most first: time may run out."""


def command(part: Part, config: str, size: tuple[int, int], frames: int) -> list[str]:
    """The arguments of `alchemint` that measure a part.

    Args:
        part: what to measure.
        config: a file with a variant `fast`, as configs/wan_1_3b.py has.
        size: height and width in pixels.
        frames: pixel frames of a clip.
    """
    clip = ["--size", f"{size[0]}x{size[1]}", "--frames", str(frames)]
    return ["bench", "--config", config + part.variant, *clip, *part.words.split()]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: "done", "failed" or "out of time".
        out: what it printed.
        said: the last lines of what it said beside: of an error the compiler may say many.
    """

    status: str
    out: str
    said: str


def run(words: Sequence[str], on: str, limit: float) -> Ended:
    """Runs Python with these words on one device, for so many seconds at the most."""
    environment = os.environ | {"JAX_PLATFORMS": PLATFORMS[on]}
    visible = environment.get("CUDA_VISIBLE_DEVICES", "0")
    environment["CUDA_VISIBLE_DEVICES"] = visible.partition(",")[0]  # one of several
    environment["JAX_TRACEBACK_FILTERING"] = "off"  # it adds remarks where the error should end
    try:
        done = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        return Ended("out of time", "", _end(error.stderr))
    status = "failed" if done.returncode else "done"
    return Ended(status, done.stdout.decode(errors="replace"), _end(done.stderr))


def _end(said: bytes | None) -> str:
    """The last lines, but for advice of where help is."""
    lines = (said or b"").decode(errors="replace").strip().splitlines()
    return "\n".join([line for line in lines if not line.startswith("For help:")][-KEPT:])


def _last(said: str) -> str:
    return said.rpartition("\n")[2].strip()


_LOOK = """
import json, jax
from alchemint_jax.bench import hardware, runner
print(json.dumps(hardware.machine(jax.devices(), runner.PACKAGES)))
"""


def machine(on: str, limit: float = 120.0) -> dict[str, Any]:
    """The device and the versions; another process looks, so that this one holds no memory there.

    Raises:
        ConfigError: no such device answers.
    """
    ended = run(["-c", _LOOK], on, limit)
    if ended.status == "done":
        found = json.loads(ended.out)
        if found["platform"] == on:
            return found
        ended = Ended("", "", f"JAX found {found['device']}")
    kind = "NVIDIA GPU" if on == "gpu" else "CPU"
    raise ConfigError(f"no {kind} answers here: {_last(ended.said) or ended.status}")


def measured(part: Part, words: Sequence[str], on: str, limit: float) -> dict[str, Any]:
    """Measures a part: its `status`, and its figure with all that was measured, or why not.

    Args:
        part: what to measure.
        words: its `command`.
        on: "gpu" or "cpu".
        limit: seconds.
    """
    began = time.monotonic()
    ended = run(["-m", "alchemint_jax", *words, "--json"], on, limit)
    found = {"status": ended.status, "took": time.monotonic() - began}
    if ended.status != "done":
        return found | {"said": ended.said}
    (case,) = json.loads(ended.out)["cases"]
    value = part.figure(case)
    return found | {
        "value": value,
        "met": part.met(value),
        "attention": case["ours"]["attention"],
        "compile_seconds": case["ours"]["compile_seconds"],
        "case": case,
    }


def line(name: str, part: Part, found: Mapping[str, Any]) -> str:
    """What was found of a part by `measured`, for people."""
    if found["status"] != "done":
        said = _last(found["said"])
        return f"{name}: {found['status']}" + (f" ({said})" if said else "")
    asked = "".join(
        f", asked for {side} {bound:g} {part.unit}".rstrip()
        for side, bound in (("at most", part.most), ("at least", part.least))
        if bound is not None
    )
    value = "not known" if found["value"] is None else f"{found['value']:.4g} {part.unit}".rstrip()
    met = {True: ": met", False: ": not met", None: ""}[found["met"]]
    return (
        f"{name}: {value}{asked}{met} (attention by {found['attention']}; compiled in "
        f"{found['compile_seconds']:.3g} s, {found['took']:.3g} s in all)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module: 1 where a part was not measured."""
    parser = argparse.ArgumentParser(description="Measure the 1.3B transformer on one NVIDIA GPU.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument(
        "--part", nargs="+", choices=PARTS, default=list(PARTS), help="only these; default: all"
    )
    parser.add_argument(
        "--seconds", type=arguments.whole(1), default=600, help="for all together (default 600)"
    )
    parser.add_argument("--on", choices=PLATFORMS, default="gpu", help="cpu tries the command")
    parser.add_argument("--config", default=CONFIG, help="it has a variant 'fast'")
    parser.add_argument("--size", type=arguments.size, default=SIZE, help="pixels: 480x832")
    parser.add_argument("--frames", type=arguments.whole(1), default=FRAMES, help="pixel frames")
    args = parser.parse_args(argv)
    began = time.monotonic()
    clip = (args.config, args.size, args.frames)
    try:
        media.check_writable(args.out, [".json"])
        check_outputs([("--out", args.out)], [("--config", args.config)])
        if not Path(args.config).is_file():
            raise ConfigError(f"--config {args.config}: no such file; give FILE.py")
        found: dict[str, Any] = {
            "machine": machine(args.on),
            "weights": "random",
            "config": args.config,
            "size": f"{args.size[0]}x{args.size[1]}",
            "frames": args.frames,
            "parts": {},
        }
        for name in [name for name in PARTS if name in args.part]:
            part, left = PARTS[name], args.seconds - (time.monotonic() - began)
            if args.on == "cpu" or clip != (CONFIG, SIZE, FRAMES):
                part = dataclasses.replace(part, most=None, least=None)
            own = {"status": "not begun", "said": "there was no time left"}
            words = command(part, *clip)
            if left >= LEAST:
                print(f"{name}: {part.what}", file=sys.stderr, flush=True)
                own = measured(part, words, args.on, min(left, part.limit))
            asked = {"most": part.most, "least": part.least, "unit": part.unit}
            about = {"what": part.what, "command": " ".join(["alchemint", *words])}
            found["parts"][name] = about | asked | own
            found["seconds"] = time.monotonic() - began
            results.write_json(args.out, found)
            print(line(name, part, own), flush=True)
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 0 if all(own["status"] == "done" for own in found["parts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
