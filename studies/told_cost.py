r"""What it costs to tell events in the prompt: by a relay, also with contrast, and by TS-Attn.

    python -m studies.told_cost --out runs/told_cost.json

Operations are those of one step of sampling of Wan's networks, traced with shapes in place of
arrays; a `cond` counts as its dearest branch. TS-Attn is in every second layer, and in a share of
the steps alone, which is taken into account. What the sprites models need, in time, is in
`studies.timing_methods`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from alchemint_jax import media, results, sharding
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.plan import steps, told
from alchemint_jax.plan.flops import traced_flops
from alchemint_jax.plan.planner import with_remat
from alchemint_jax.sampling.control import Relay, TSAttn
from alchemint_jax.shipped import find
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task

NETWORKS = {
    "1.3B, 480p": ("configs/wan_1_3b.py", (480, 832)),
    "14B, 720p": ("configs/wan_14b.py", (720, 1280)),
}
WAYS: dict[str, Relay | TSAttn | None] = {
    "plain": None,
    "relay": Relay(),
    "contrast": Relay(contrast=True),
    "TS-Attn": TSAttn(),
}
LAYERS = 0.5
"""The share of layers that TS-Attn acts in."""


def counted(task: Any, work: steps.Work, control: Any = None) -> float:
    """Operations of one step of sampling, nothing recomputed, on one device."""
    mesh = sharding.make_mesh(data=1, devices=jax.devices()[:1])
    step = steps.sample_step(with_remat(task, "none"), work, mesh, control)
    return traced_flops(step.traced.jaxpr.jaxpr)


def operations(config: str, size: tuple[int, int], references: int = 2) -> dict[str, Any]:
    """Operations of a step, and those of a whole video over the plain one's."""
    task: Any = steps.resized(build_task(load_config(find(config))), size)
    found = {}
    for name, control in WAYS.items():
        work = steps.Work(
            size, task.sampling.max_frames, references, 1, told=told.EVENTS if control else 0
        )
        found[name] = counted(task, work, control)
    more = {name: x / found["plain"] - 1 for name, x in found.items()}
    start, end = TSAttn().steps
    more["TS-Attn"] *= LAYERS * (end - start)
    return {"step": found, "video": {name: 1 + x for name, x in more.items()}}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure what it costs to tell events.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        found = {name: operations(*of) for name, of in NETWORKS.items()}
        results.write_json(args.out, found)
    except AlchemintError as error:
        parser.error(str(error))
    for name, own in found.items():
        print(name, {way: round(x, 4) for way, x in own["video"].items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
