r"""What it costs to tell events in the prompt: by a relay, and by TS-Attn.

    python -m studies.told_cost --out runs/told_cost.json

Operations are those of one step of sampling of Wan's networks, traced with shapes in place of
arrays; a `cond` counts as its dearest branch. TS-Attn is in every second layer, and in a share of
the steps alone, which is taken into account. Seconds are those of a video of the bundled model,
whole, in turns on this machine; it never read such prompts, and what it draws is not looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import alchemint_jax as al
from alchemint_jax import arguments, media, results, sharding
from alchemint_jax.bench import hardware
from alchemint_jax.bench.measure import Side, alternate, compare, summary
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.plan import steps, told
from alchemint_jax.plan.flops import traced_flops
from alchemint_jax.plan.planner import with_remat
from alchemint_jax.sampling.control import Relay, TSAttn
from alchemint_jax.scene.storyboard import EventEntry
from alchemint_jax.shipped import find
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task
from studies.start import BOARD

NETWORKS = {
    "1.3B, 480p": ("configs/wan_1_3b.py", (480, 832)),
    "14B, 720p": ("configs/wan_14b.py", (720, 1280)),
}
WAYS: dict[str, Relay | TSAttn | None] = {"plain": None, "relay": Relay(), "TS-Attn": TSAttn()}
LAYERS = 0.5
"""The share of layers that TS-Attn acts in."""
EVENTS = (EventEntry("it glides", (0.0, 2.0)), EventEntry("it stays", (2.0, 4.0)))


def operations(config: str, size: tuple[int, int], references: int = 2) -> dict[str, Any]:
    """Operations of a step, and those of a whole video over the plain one's."""
    task: Any = with_remat(steps.resized(build_task(load_config(find(config))), size), "none")
    mesh = sharding.make_mesh(data=1, devices=jax.devices()[:1])
    found = {}
    for name, control in WAYS.items():
        work = steps.Work(
            size, task.sampling.max_frames, references, 1, told=told.EVENTS if control else 0
        )
        traced = steps.sample_step(task, work, mesh, control).traced
        found[name] = traced_flops(traced.jaxpr.jaxpr)
    more = {name: x / found["plain"] - 1 for name, x in found.items()}
    start, end = TSAttn().steps
    more["TS-Attn"] *= LAYERS * (end - start)
    return {"step": found, "video": {name: 1 + x for name, x in more.items()}}


def seconds(model: str, steps: int, repeats: int) -> dict[str, Any]:
    """Seconds of a video, told events in each way, beside the plain one."""
    plain = al.Storyboard.load(BOARD)
    sides: dict[str, Side] = {}
    for name, way in WAYS.items():
        pipe = al.Pipeline.load(model, relay=way)
        asked = dataclasses.replace(plain, events=EVENTS) if way else plain
        render = functools.partial(pipe.generate, asked, seed=0, steps=steps)
        sides[name] = Side(render, lambda frames: frames, hardware.peak_memory)
        sides[name].call()  # compiles
    found = alternate(sides, repeats)
    return {
        "model": model,
        "steps": steps,
        "seconds": {name: summary(own) for name, own in found.items()},
        "compared": {name: compare(found[name], found["plain"]) for name in WAYS if WAYS[name]},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure what it costs to tell events.")
    parser.add_argument("--model", default="sprites")
    parser.add_argument("--steps", type=arguments.whole(1), default=20)
    parser.add_argument("--repeats", type=arguments.whole(1), default=7)
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        found = {
            "hardware": hardware.machine(jax.devices(), ["jax"]),
            "operations": {name: operations(*of) for name, of in NETWORKS.items()},
            "sprites": seconds(args.model, args.steps, args.repeats),
        }
        results.write_json(args.out, found)
    except AlchemintError as error:
        parser.error(str(error))
    for name, own in found["operations"].items():
        print(name, {way: round(x, 4) for way, x in own["video"].items()})
    for way, own in found["sprites"]["compared"].items():
        print(way, own)
    return 0


if __name__ == "__main__":
    sys.exit(main())
