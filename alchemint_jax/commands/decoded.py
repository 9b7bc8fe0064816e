"""`alchemint data decode`: what a model's decoder shows of clips, for a small decoder."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from alchemint_jax import arguments
from alchemint_jax.commands import shared
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.outputs import check_outputs


def add_parser(kinds: Any) -> None:
    """Adds the command to `kinds`, the subparsers of `alchemint data`."""
    about = "encode clips and decode them again, to train a small decoder"
    c = kinds.add_parser("decode", help=about, description=about[0].upper() + about[1:] + ".")
    c.set_defaults(command=run, parser=c)
    many = arguments.whole(1)
    c.add_argument("--data", required=True, metavar="DIR", help="a dataset of clips")
    c.add_argument("--model", default="sprites", help="'sprites' or a folder")
    c.add_argument("--clips", type=many, metavar="N", help="the first N; default: all")
    c.add_argument(
        "--paths",
        metavar="DIR",
        help="what `alchemint data paths` made of the model: its latents are decoded, too",
    )
    c.add_argument(
        "--noise",
        type=arguments.threshold,
        default=0.1,
        metavar="S",
        help="the largest standard deviation of what is added to latents, default 0.1",
    )
    c.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="default 0")
    c.add_argument("--shard", type=many, default=64, metavar="N", help="in a file, default 64")
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")


def run(args: argparse.Namespace) -> int:
    """Encodes and decodes."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    model = shared.model_name("--model", args.model)
    read = [("--model", shared.model_folder(model)), ("--data", args.data)]
    read += [] if args.paths is None else [("--paths", args.paths)]
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        from alchemint_jax.data import decoded

        check_outputs([("--out", out)], read)
        options = {name: getattr(args, name) for name in ("paths", "noise", "seed", "shard")}
        decoded.write_decoded(args.data, model, out, args.clips, **options)
    print(out)
    return 0
