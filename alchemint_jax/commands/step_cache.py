"""`alchemint step-cache`: which steps a model may skip, measured on storyboards."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import alchemint_jax as al
from alchemint_jax import arguments, shipped
from alchemint_jax.commands import shared
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.outputs import check_outputs


def add_parser(commands: Any) -> None:
    """Adds the command to `commands`, the subparsers of the command line."""
    about = "measure which steps a model may skip, for generate --cache"
    c = commands.add_parser("step-cache", help=about, description=about[0].upper() + about[1:])
    c.set_defaults(command=run, parser=c)
    c.add_argument(
        "storyboards",
        type=shipped.find,
        nargs="+",
        metavar="STORYBOARD",
        help="what it is measured on: .yaml or .json storyboards of one size and length",
    )
    c.add_argument("--model", default="sprites", help="'sprites' (bundled, default) or a folder")
    c.add_argument(
        "--out",
        metavar="FILE.json",
        help="where the table goes, beside those of other grids (default: step_cache.json beside "
        "the weights, where --cache auto finds it)",
    )
    c.add_argument("--transformer", metavar="FILE|DIR", help="as of generate")
    arguments.add_kind(c)
    c.add_argument("--int8-text", action="store_true", help="as of generate")
    c.add_argument("--dtype", choices=("float32", "bfloat16"), help="as of generate")
    c.add_argument("--steps", type=arguments.whole(2, 1000), metavar="N", help="solver steps")
    c.add_argument("--solver", choices=("euler", "unipc"), help="default: the model's own")
    for branch in ("text", "image", "both"):
        c.add_argument(
            f"--guidance-{branch}",
            type=arguments.guidance_weight,
            metavar="G",
            help="as of generate",
        )
    c.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="default 0")
    c.add_argument(
        "--threshold",
        type=arguments.threshold,
        metavar="E",
        help="error at which a step is computed again (default 0.12; 0 skips none)",
    )
    few = arguments.whole(1, 1000)
    c.add_argument("--most", type=few, metavar="K", help="steps skipped in a row (default 4)")
    c.add_argument(
        "--dense",
        type=arguments.share,
        metavar="S",
        help="share of the steps, the first ones, that are all computed (default 0.2)",
    )
    c.add_argument(
        "--sides",
        type=few,
        metavar="N",
        help="compute passes of guidance with the text or the pictures alone at every Nth of the "
        "computed steps (default 1)",
    )


def run(args: argparse.Namespace) -> int:
    """Measures a model, and writes the table."""
    from alchemint_jax import media

    boards = [al.Storyboard.load(path) for path in args.storyboards]
    model = shared.model_name("--model", args.model)
    folder = shared.model_folder(model)
    out = media.check_writable(args.out or folder / "step_cache.json", [".json"])
    inputs = [("STORYBOARD", Path(path)) for path in args.storyboards]
    inputs += [picture for board in boards for picture in board.pictures()]
    inputs += shared.model_parts(model)
    if args.transformer:
        inputs.append(("--transformer", Path(args.transformer)))
    check_outputs([("--out", out)], inputs)

    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        from alchemint_jax.progress import Progress
        from alchemint_jax.sampling.ratios import measure_table
        from alchemint_jax.sampling.step_cache import Rule, Tables

        rule = Rule(
            **shared.given(
                threshold=args.threshold, most=args.most, dense=args.dense, sides=args.sides
            )
        )
        known = Tables.load(out) if out.exists() else Tables((), str(out))
        weights = shared.given(
            text=args.guidance_text, image=args.guidance_image, both=args.guidance_both
        )
        pipe = al.Pipeline.load(
            model,
            int8_text=args.int8_text,
            dtype=args.dtype,
            transformer=args.transformer,
            kind=args.model_kind,
        )
        plan = pipe.settings.plan(args.steps, weights, args.solver)
        plan = dataclasses.replace(
            plan, guidance=dataclasses.replace(plan.guidance, interval=(0, 1))
        )
        scenes = [pipe.scene(board) for board in boards]
        with Progress(len(scenes) * plan.steps, "measuring") as bar:
            table = measure_table(pipe, scenes, plan, rule, args.seed, bar.update)
        with shared.tidy():
            known.joined(table).save(out)
    for name, computed in zip(table.branches, table.computed, strict=True):
        row = "".join("#" if one else "." for one in computed)
        print(f"{name:5s} {row}  {sum(computed)} of {plan.steps} steps")
    print(out)
    return 0
