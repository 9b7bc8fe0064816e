r"""What it costs to score a run while it trains: seconds of an evaluation, and of a step.

    python -m studies.evaluating --workdir runs/evaluating --out docs/results/evaluating.json

The bundled sprites model goes on training for a few steps, by its own recipe, on clips that are
drawn for it. The first evaluation compiles what renders, the others do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import arguments, media, results, shipped
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.data.encode import encode_dataset
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.train import read_metrics
from alchemint_jax.train.run import run_config
from alchemint_jax.worlds.sprites import write_sprites

STEPS = 8
EVERY = 2
CLIPS = 16


def run(workdir: Path, limit: int, batch: int, steps: int) -> None:
    """Trains a few steps with evaluations, in a new folder."""
    if workdir.exists():
        raise ConfigError(f"--workdir {workdir}: is there already; give a new folder")
    data = write_sprites(workdir / "data", CLIPS, seed=0, validation=8)
    encode_dataset(data, "sprites", workdir / "latents")
    evaluate = {"every": EVERY, "limit": limit, "batch": batch, "steps": steps}
    fields = {
        "data": workdir / "latents",
        "vae": "sprites",
        "init_from": "sprites",
        "train.total_steps": STEPS,
        "train.log_every": 1,
        "train.validate_every": 0,
        "train.sample_every": 0,
        "train.checkpoint_every": 0,
        **{f"train.evaluate.{name}": value for name, value in evaluate.items()},
    }
    config = str(shipped.find("configs/sprites.py"))
    run_config(config, workdir / "run", [f"{name}={value}" for name, value in fields.items()])


def measured(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds of evaluations, and of a step, by the lines of a metrics.jsonl."""
    scored = [line["evaluation/seconds"] for line in lines if "evaluation/seconds" in line]
    # The first step is compiled.
    rates = [line["steps_per_second"] for line in lines[1:] if "steps_per_second" in line]
    step, later = 1 / float(np.median(rates)), float(np.median(scored[1:]))
    return {
        "first_evaluation": scored[0],
        "evaluation": later,
        "step": step,
        "steps_of_an_evaluation": later / step,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure what it costs to score a run.")
    count = arguments.whole(1)
    parser.add_argument("--limit", type=count, default=16, help="boards")
    parser.add_argument("--batch", type=count, default=8, help="boards rendered at a time")
    parser.add_argument("--steps", type=count, default=5, help="sampling steps")
    parser.add_argument("--workdir", type=Path, required=True, help="a new folder")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        run(args.workdir, args.limit, args.batch, args.steps)
        found = {
            "model": "sprites",
            "weights": fingerprints("sprites"),
            "limit": args.limit,
            "batch": args.batch,
            "steps": args.steps,
            "processors": os.cpu_count(),
            "machine": platform.machine(),
            "seconds": measured(read_metrics(args.workdir / "run" / "metrics.jsonl")),
        }
        results.write_json(args.out, found)
    except AlchemintError as error:
        parser.error(str(error))
    print(results.to_json(found["seconds"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
