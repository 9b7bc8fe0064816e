r"""How a model relies on word tags: boards of similar subjects with them, without, and exchanged.

    python -m alchemint_jax.evaluate.tags --model sprites --limit 384 --steps 5 \
        --out docs/results/sprites_tags.json

A word tag says which words of the prompt a reference belongs to (AlcheMinT, section 3). Subjects of
one shape or colour are those that a model might confuse. The model is not trained again. It has not
seen a subject without its tag, so that only the exchange tells what the words of a tag do. All
variants see the same boards and the same noise.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import arguments, media, results, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate import scores
from alchemint_jax.evaluate.benchmark import check_model, fingerprints, render
from alchemint_jax.evaluate.study import difference
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.cases import Case, sprites_cases

SHOWN = ("t_iou", "t_l2", "identity")
VARIANTS: dict[str, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "tags": lambda words: words,
    "no tags": lambda words: ("",) * len(words),
    "exchanged": lambda words: (*words[1:], words[0]),
}
"""What becomes of the words of a board's subjects; the prompt stays."""


def similar_cases(limit: int, seed: int) -> list[Case]:
    """The first `limit` sprites boards that have two subjects of one shape or colour."""
    drawn = limit
    while True:
        drawn *= 2
        found = [
            case
            for case in sprites_cases(drawn, seed)
            if scores.similar([tracker.kind_of(picture) for picture in case.references])
        ]
        if len(found) >= limit:
            return found[:limit]


def measure(
    draw: Callable[..., np.ndarray], cases: Sequence[Case], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each variant, and of each less those with tags, board by board.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """
    rows = {}
    for name, change in VARIANTS.items():
        print(name, file=sys.stderr, flush=True)
        changed = [dataclasses.replace(case, words=change(case.words)) for case in cases]
        report = scores.score(cases, render(draw, changed, seed=seed, **settings))
        rows[name] = [row | {"seed": seed} for row in report["rows"]]
    return {
        "variants": {name: scores.summarise(own) for name, own in rows.items()},
        "differences": {
            name: {figure: difference(own, rows["tags"], figure) for figure in SHOWN}
            for name, own in rows.items()
            if name != "tags"
        },
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure a model with and without word tags.")
    parser.add_argument("--model", default="sprites")
    count = arguments.whole(1)
    parser.add_argument("--limit", type=count, default=128, help="boards of similar subjects")
    parser.add_argument("--seed", type=arguments.seed, default=7, help="of boards and noise")
    parser.add_argument("--steps", type=count, help="sampling steps; default: the model's own")
    parser.add_argument("--batch", type=count, default=16, help="boards rendered at a time")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        kept = [("a part of --model:", path) for path in weights.parts(args.model)]
        check_outputs([("--out", args.out)], kept)
        pipe = Pipeline.load(args.model)
        if not pipe.models.dit.config.tags:
            raise ConfigError(f"--model {args.model}: has no word tags")
        cases = similar_cases(args.limit, args.seed)
        check_model(pipe, cases)
        plan = pipe.settings.plan(args.steps, None, None)
        found = {
            "model": args.model,
            "weights": fingerprints(args.model),
            "limit": args.limit,
            "seed": args.seed,
            "batch": args.batch,
            **dataclasses.asdict(plan),
            **measure(
                functools.partial(pipe.render, solver=plan.solver),
                cases,
                seed=args.seed,
                steps=plan.steps,
                guidance=plan.guidance,
                batch=args.batch,
                slots=pipe.limits.max_subjects,
            ),
        }
        results.write_json(args.out, found)
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    for name, summary in found["variants"].items():
        shown = (f"{scores.MEASURES[m]} {summary[m]['mean']:.3f}" for m in SHOWN)
        print(f"{name:<10}", *shown, sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
