"""`alchemint annotate`: from videos to scenes, a report, and a dataset to train on."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

from alchemint_jax import arguments
from alchemint_jax.annotate.settings import load_settings
from alchemint_jax.endpoints import ChatClient
from alchemint_jax.outputs import check_outputs

_MOST_WORKERS = 8  # unless more are asked for


def add_parser(commands: Any) -> None:
    """Adds the command to `commands`, the subparsers of the command line."""
    about = "find who is on screen when in real videos, and make a dataset of them"
    c = commands.add_parser("annotate", help=about, description=about[0].upper() + about[1:] + ".")
    c.usage = (
        "alchemint annotate VIDEO|FOLDER|LIST.jsonl --out DIR [options] "
        "[--config.PART.FIELD=VALUE ...]"
    )
    c.set_defaults(command=run, parser=c)
    c.add_argument(
        "source",
        metavar="VIDEO|FOLDER|LIST.jsonl",
        help="a video, a folder of them, or a list: an object with path, id and caption a line",
    )
    c.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="a new folder, or one of an earlier run, which then goes on",
    )
    c.add_argument(
        "--config", dest="settings", metavar="FILE", help="settings that differ (YAML or JSON)"
    )
    c.add_argument(
        "--workers",
        type=arguments.whole(1, 1024),
        default=min(os.cpu_count() or 1, _MOST_WORKERS),
        metavar="N",
        help="processes, each of which takes about 1 GB of memory (default: %(default)s)",
    )
    c.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this machine, or a cluster"
    )
    c.add_argument(
        "--ray-address",
        default="auto",
        metavar="HOST:PORT",
        help="of the cluster (default: the one that this machine belongs to)",
    )
    c.add_argument(
        "--llm-url",
        metavar="URL",
        help="a server of the OpenAI protocol that writes captions and finds words in them",
    )
    c.add_argument("--llm-model", metavar="NAME", help="its model (default: the first it lists)")
    c.add_argument("--no-dataset", action="store_true", help="scenes and report alone")


def run(args: argparse.Namespace) -> int:
    """Annotates, and prints what came of it."""
    overrides = list(args.overrides)
    if args.llm_url:
        overrides.append(f"chat.url={args.llm_url}")
    if args.llm_model:
        overrides.append(f"chat.model={args.llm_model}")
    if args.no_dataset:
        overrides.append("pack.dataset=false")
    settings = load_settings(args.settings, overrides)
    if settings.chat.url:
        ChatClient(settings.chat)  # refuses an address that is none, before any work
    check_outputs([("--out", args.out)], [("the source", args.source), ("--config", args.settings)])
    with contextlib.redirect_stdout(sys.stderr):
        from alchemint_jax.annotate.run import annotate

        cluster = args.ray_address if args.engine == "ray" else None
        made = annotate(args.source, args.out, settings, args.workers, cluster=cluster)
    print(
        f"{made.kept} of {made.scenes} scenes of {made.videos} videos are kept "
        f"({made.seconds:.1f} s, {made.subjects} subjects); "
        f"{made.failed} failed, {made.dropped} were left out"
    )
    print(made.folder / "scenes.jsonl")
    print(made.folder / "report.html")
    return 0
