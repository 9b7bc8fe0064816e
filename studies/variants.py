"""The command that measures a model on variants of the same boards, from the same noise."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import arguments, media, results, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate.benchmark import check_model, fingerprints
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.pipeline import Pipeline


@dataclasses.dataclass(frozen=True)
class Study:
    """What is particular about one such command.

    Attributes:
        description: of the command.
        model: by default.
        limit: the number of boards, by default.
        boards: so many boards that a seed draws, for a pipeline; raises AlchemintError, without
            saying which model it is, where that cannot render them.
        case: the evaluation case of a board.
        measure: the figures of each variant, from `Pipeline.render`, the boards, the `seed` of the
            noise and the settings of `benchmark.render`; `variants` of the result has a summary of
            each.
        whole: whether `measure` is given the pipeline itself, in place of its `render`.
        shown: titles of the figures to print.
        draw: an SVG of the result, for a command that has a figure.
    """

    description: str
    model: str
    limit: int
    boards: Callable[[Pipeline, int, int], Sequence[Any]]
    case: Callable[[Any], Any]
    measure: Callable[..., dict[str, Any]]
    shown: Mapping[str, str]
    draw: Callable[[Mapping[str, Any]], bytes] | None = None
    whole: bool = False


def main(
    study: Study,
    argv: Sequence[str] | None = None,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> int:
    """The command line of a study; help tells of the options of `parents`, too."""
    command = parser(study, parents)
    args = command.parse_args(argv)
    prepare_jax()
    try:
        result = _measured(study, args)
    except AlchemintError as error:
        command.error(str(error))
    except KeyboardInterrupt:
        return 130
    for name, summary in result["variants"].items():
        figures = (f"{title} {summary[key]['mean']:.3f}" for key, title in study.shown.items())
        print(f"{name:<10}", *figures, sep="  ")
    return 0


def parser(
    study: Study, parents: Sequence[argparse.ArgumentParser] = ()
) -> argparse.ArgumentParser:
    """The options of a study's command line."""
    command = argparse.ArgumentParser(description=study.description, parents=list(parents))
    command.add_argument("--model", default=study.model)
    count = arguments.whole(1)
    command.add_argument("--limit", type=count, default=study.limit, help="boards")
    command.add_argument("--seed", type=arguments.seed, default=7, help="of boards and noise")
    command.add_argument("--steps", type=count, help="sampling steps; default: the model's own")
    command.add_argument("--batch", type=count, default=16, help="boards rendered at a time")
    command.add_argument("--out", type=Path, required=True, help="the JSON to write")
    if study.draw:
        command.add_argument("--figure", type=Path, help="an SVG to write")
    return command


def _measured(study: Study, args: argparse.Namespace) -> dict[str, Any]:
    outputs = [("--out", args.out)] + ([("--figure", args.figure)] if study.draw else [])
    for _, path in outputs:
        if path:
            media.check_writable(path)
    check_outputs(outputs, weights.parts(args.model))
    pipe = Pipeline.load(args.model)
    try:
        boards = study.boards(pipe, args.limit, args.seed)
    except AlchemintError as error:
        raise type(error)(f"--model {args.model}: {error}") from error
    check_model(pipe, [study.case(board) for board in boards])
    plan = pipe.settings.plan(args.steps, None, None)
    result = {
        "model": args.model,
        "weights": fingerprints(args.model),
        "limit": args.limit,
        "seed": args.seed,
        "batch": args.batch,
        **dataclasses.asdict(plan),
        **study.measure(
            pipe if study.whole else functools.partial(pipe.render, solver=plan.solver),
            boards,
            seed=args.seed,
            steps=plan.steps,
            guidance=plan.guidance,
            batch=args.batch,
        ),
    }
    results.write_json(args.out, result)
    if study.draw and args.figure:
        media.write_bytes(args.figure, study.draw(result))
    return result
