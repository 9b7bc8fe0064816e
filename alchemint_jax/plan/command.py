"""`alchemint plan`: compile the step of a config for hardware that is not there."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from alchemint_jax import arguments
from alchemint_jax.errors import ConfigError
from alchemint_jax.outputs import check_outputs


def add_parser(commands: Any) -> None:
    """Adds the command to `commands`, the subparsers of the command line."""
    about = "compile the step of a config for TPUs or GPUs that are not there"
    c = commands.add_parser("plan", help=about, description=about[0].upper() + about[1:] + ".")
    c.usage = (
        "alchemint plan --config FILE.py[:ARGUMENT] --target v5p:4x4x4 [options] "
        "[--config.FIELD=VALUE ...]"
    )
    c.set_defaults(command=run, parser=c)
    c.add_argument(
        "--config",
        type=arguments.config,
        required=True,
        metavar="FILE.py[:ARGUMENT]",
        help="see configs/",
    )
    c.add_argument(
        "--target",
        required=True,
        help="v5p-8, v5p:4x4x4, 2xv6e:16x16, h100:8x8 (nodes x GPUs), ...",
    )
    c.add_argument(
        "--mesh", type=_mesh, metavar="data=4,fsdp=16", help="default: the config's, or all fsdp"
    )
    c.add_argument(
        "--size", type=arguments.size, metavar="480x832", help="pixels; default: the config's"
    )
    c.add_argument(
        "--frames", type=arguments.whole(1), metavar="N", help="pixel frames; default: the config's"
    )
    c.add_argument(
        "--references", type=arguments.whole(0), metavar="N", help="default: the model's slots"
    )
    c.add_argument(
        "--events",
        type=arguments.whole(0),
        metavar="N",
        help="default: 2, where the model has events, or --relay or --ts-attn tells some",
    )
    c.add_argument(
        "--batch",
        type=_batch,
        metavar="N",
        help="clips per step, N/chip or N/device; default: 1/device, times accumulate",
    )
    c.add_argument("--step", choices=("train", "sample"), default="train")
    arguments.add_gating(c)
    arguments.add_inbetween(c)
    arguments.add_relay(c)
    c.add_argument(
        "--ts-attn",
        action="store_true",
        default=None,
        help="TS-Attn in the step, with a word for each reference, or with one",
    )
    c.add_argument(
        "--tempo",
        action="store_true",
        default=None,
        help="one round of TempoControl in the step; others take as long, and no more memory",
    )
    c.add_argument(
        "--cache", metavar="FILE", help="a step cache, whose skipped passes a video does without"
    )
    c.add_argument(
        "--remat",
        metavar="POLICY",
        help="of the layers; auto is the fastest that fits; default: the config's",
    )
    c.add_argument(
        "--search", action="store_true", help="find the mesh, remat policy and micro-batches"
    )
    c.add_argument("--json", action="store_true", help="print one JSON object")
    c.add_argument("--picture", metavar="P.png", help="draw memory and time (by matplotlib)")


def run(args: argparse.Namespace) -> int:
    """Plans, and prints the plan."""
    from alchemint_jax import media

    picture = media.check_writable(args.picture, [".png"]) if args.picture else None
    config = args.config.partition(":")[0]
    check_outputs([("--picture", picture)], [("--config", config)])
    if picture:
        from alchemint_jax.plan.picture import check_drawing, draw

        check_drawing()
    if args.search and args.mesh is not None:
        raise ConfigError("--search finds the mesh; leave --mesh out")
    with contextlib.redirect_stdout(sys.stderr):
        plan = plan_command(args)
    if picture:
        media.write_png(Path(picture), draw([plan.as_dict()]))
    from alchemint_jax.plan.plan_text import as_json, as_text

    print(as_json(plan) if args.json else as_text(plan))
    return 0


def plan_command(args: argparse.Namespace) -> Any:
    """The plan that the arguments ask for."""
    prepare()
    from alchemint_jax.plan.planner import Request
    from alchemint_jax.plan.search import plan, search
    from alchemint_jax.sampling.control import Gating, Inbetween, TempoControl, Together
    from alchemint_jax.sampling.control.telling import told_by

    for name in ("gating", "inbetween", "relay", "contrast", "ts_attn", "tempo", "cache"):
        if getattr(args, name) is not None and args.step != "sample":
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is of sampling; give --step sample as well")
    tempo = TempoControl(iterations=1) if args.tempo else None
    relay = told_by(args.relay, [True] if args.ts_attn else None, args.contrast)
    control = Together.of(relay, Gating.of(args.gating), Inbetween.of(args.inbetween), tempo)
    request = Request(
        config=args.config,
        target=args.target,
        overrides=tuple(args.overrides),
        mesh=args.mesh,
        size=args.size,
        frames=args.frames,
        references=args.references,
        events=args.events,
        batch=args.batch,
        step=args.step,
        remat=args.remat,
        control=control,
        cache=args.cache,
    )
    return (search if args.search else plan)(request, _say)


def prepare() -> None:
    """JAX on the CPU, unless told otherwise: a plan needs no device and should take none."""
    if "JAX_PLATFORMS" not in os.environ:
        import jax

        jax.config.update("jax_platforms", "cpu")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _mesh(text: str) -> dict[str, int]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        found = {name.strip(): int(size) for name, size in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"write data=4,fsdp=16, not {text!r}") from None
    known = ("data", "fsdp", "context", "tensor")
    if unknown := sorted(set(found) - set(known)):
        raise argparse.ArgumentTypeError(f"no axis {unknown[0]!r}; there are {', '.join(known)}")
    return found


def _batch(text: str) -> tuple[int, str]:
    """Clips, and of what: "all", each "chip" or each "device"."""
    number, slash, per = text.partition("/")
    if slash and per not in ("chip", "device"):
        raise argparse.ArgumentTypeError(f"write N, N/chip or N/device, not {text!r}")
    return arguments.whole(1)(number), per or "all"
