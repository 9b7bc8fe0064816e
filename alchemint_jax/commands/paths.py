"""`alchemint data paths`: a teacher's way from noise to clips, for a student of fewer steps."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import replace
from typing import Any

from alchemint_jax import arguments
from alchemint_jax.commands import shared
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.outputs import check_outputs


def add_parser(kinds: Any) -> None:
    """Adds the command to `kinds`, the subparsers of `alchemint data`."""
    about = "render boards with a teacher, and keep its way from noise to clips"
    c = kinds.add_parser("paths", help=about, description=about[0].upper() + about[1:] + ".")
    c.set_defaults(command=run, parser=c)
    many = arguments.whole(1)
    c.add_argument("--model", default="sprites", help="the teacher: 'sprites' or a folder")
    c.add_argument(
        "--boards",
        default="sprites",
        metavar="sprites|FILE.jsonl|MODULE:NAME",
        help="what it is asked for, as --benchmark of `alchemint evaluate`",
    )
    c.add_argument("--limit", type=many, metavar="N", help="the first N boards")
    c.add_argument(
        "--seed",
        type=arguments.seed,
        default=0,
        metavar="N",
        help="of boards and noise, default 0; measure the student with another one",
    )
    c.add_argument("--steps", type=many, metavar="N", help="of the teacher; default: its own")
    c.add_argument("--solver", choices=("euler", "unipc"), help="default: the teacher's own")
    arguments.add_guidance(c)
    c.add_argument(
        "--student-steps",
        type=many,
        default=4,
        metavar="N",
        help="of the student, default 4; those of the teacher must be a multiple of them",
    )
    c.add_argument("--batch", type=many, default=8, metavar="N", help="boards at once, default 8")
    c.add_argument("--shard", type=many, default=64, metavar="N", help="in a file, default 64")
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")


def run(args: argparse.Namespace) -> int:
    """Follows a teacher."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    model = shared.model_name("--model", args.model)
    read = [("--model", shared.model_folder(model))]
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        from alchemint_jax.data import teacher_paths
        from alchemint_jax.evaluate.benchmark import check_model
        from alchemint_jax.evaluate.cases import StoryboardFile
        from alchemint_jax.sampling.pipeline import Pipeline
        from alchemint_jax.worlds import named

        if (file := named.file(args.boards)) is not None:
            read.append(("--boards", file))
        check_outputs([("--out", out)], read)
        benchmark = named.chosen(args.boards, None, args.limit, ("--boards", "--tracker"))
        pipe = Pipeline.load(model)
        if isinstance(benchmark, StoryboardFile):  # whose tracker need not know the pictures
            read_boards = benchmark.boards
            scenes = [replace(board.scene(pipe.limits), id=name) for name, board in read_boards]
        else:
            limit = benchmark.limit if args.limit is None else args.limit
            scenes = benchmark.cases(pipe, limit, args.seed)
        check_model(pipe, scenes)
        plan = pipe.settings.plan(args.steps, shared.guidance_weights(args), args.solver)
        name = benchmark.name if file is None else file.name
        boards = teacher_paths.Boards(name, args.seed, scenes)
        options = {"batch": args.batch, "shard": args.shard}
        teacher_paths.write_paths(pipe, model, boards, out, plan, args.student_steps, **options)
    print(out)
    return 0
