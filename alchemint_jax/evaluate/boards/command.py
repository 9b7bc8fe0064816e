"""`alchemint benchmark`: sets of boards made, checked, read from others, and written for others."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alchemint_jax import arguments, caches
from alchemint_jax.errors import AlchemintError, ConfigError, DataError, listed
from alchemint_jax.evaluate.boards.board import find, names
from alchemint_jax.evaluate.boards.formats import EXPORTS, IMPORTS, export_boards, import_boards
from alchemint_jax.evaluate.boards.formats.common import Options
from alchemint_jax.evaluate.boards.writing import signature
from alchemint_jax.outputs import check_outputs

_LONGEST = 600.0  # seconds


def add_parser(commands: Any) -> None:
    """Adds the commands to `commands`, the subparsers of the command line."""
    about = "make, check and convert sets of storyboards that systems are compared on"
    parent = commands.add_parser("benchmark", help=about)
    parent.description = about[0].upper() + about[1:] + "."
    verbs = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], help: str) -> Any:
        c = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        c.set_defaults(command=run, parser=c)
        return c

    c = add("make", make_command, "make a set from prompts")
    c.add_argument(
        "prompts", metavar="PROMPTS", help="a prompt on each line, or JSON Lines with prompts"
    )
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    c.add_argument(
        "--subjects",
        type=arguments.whole(1, 16),
        default=2,
        metavar="N",
        help="the most on a board",
    )
    c.add_argument(
        "--seconds", type=_seconds, default=5.0, metavar="S", help="of the videos (default 5)"
    )
    c.add_argument("--fps", type=_rate, metavar="F", help="default: the model's")
    c.add_argument("--size", type=arguments.size, metavar="HxW", help="default: the model's")
    c.add_argument(
        "--detectable",
        action="store_true",
        help="only subjects of kinds that the packaged detector knows",
    )
    c.add_argument("--llm-url", metavar="URL", help="a server that chooses subjects and times")
    c.add_argument("--llm-model", metavar="NAME", help="its model (default: the first it lists)")
    c.add_argument(
        "--jobs", type=arguments.whole(1, 64), default=4, metavar="N", help="prompts at once"
    )
    _add_pictures(c)

    c = add("import", import_command, "read a benchmark of others")
    c.add_argument("source", metavar="FILE|DIR")
    c.add_argument("--from", required=True, dest="format", choices=sorted(IMPORTS))
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    c.add_argument("--limit", type=arguments.whole(1), metavar="N", help="the first N boards")
    c.add_argument(
        "--seconds", type=_seconds, metavar="S", help="length of a video (tie: 10 by default)"
    )
    c.add_argument(
        "--frames", type=arguments.whole(1), metavar="N", help="only this length (tgi-bench)"
    )
    _add_options(c, "tgi-bench: 15 by default")
    _add_pictures(c)

    c = add("export", export_command, "write a set as another system takes it")
    c.add_argument("boards", metavar="FILE.jsonl|NAME")
    c.add_argument("--to", required=True, dest="format", choices=sorted(EXPORTS))
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    _add_options(c, "prompt-relay-wan: 16, tgi-bench: 15 by default")

    c = add("check", check_command, "look for mistakes in a set, and count what it asks for")
    c.add_argument("boards", metavar="FILE.jsonl|NAME")
    c.add_argument("--json", action="store_true", help="print one JSON object")


def _add_pictures(c: argparse.ArgumentParser) -> None:
    c.add_argument(
        "--pictures",
        metavar="DIR",
        help="pictures that are named by their words, what `alchemint annotate` wrote, or a "
        "dataset of it",
    )
    c.add_argument("--image-url", metavar="URL", help="a server that draws pictures")
    c.add_argument("--image-model", metavar="NAME", help="its model (default: the first it lists)")
    c.add_argument(
        "--image-size", default="1024x1024", metavar="WxH", help="as the server takes it"
    )
    c.add_argument(
        "--cut-out", action="store_true", help="leave the subject of each picture alone on white"
    )
    c.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="default 0")
    c.add_argument("--timeout", type=_seconds, default=120.0, metavar="S", help="for an answer")
    c.add_argument(
        "--tries", type=arguments.whole(1, 100), default=4, metavar="N", help="for an answer"
    )
    c.add_argument(
        "--answers",
        metavar="DIR",
        help="where answers of servers are kept (default: the user's cache)",
    )


def _add_options(c: argparse.ArgumentParser, fps: str) -> None:
    c.add_argument("--fps", type=_rate, metavar="F", help=f"frames per second ({fps})")
    c.add_argument(
        "--shot-seconds",
        type=_seconds,
        metavar="S",
        help="length of a shot (entitybench: 5 by default)",
    )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)) and 0 < value <= _LONGEST:
            return value
    raise argparse.ArgumentTypeError(
        f"must be a number of seconds up to {_LONGEST:g}, got {text!r}"
    )


def _rate(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 1 <= (value := float(text)) <= 240:
            return value
    raise argparse.ArgumentTypeError(f"must be a number from 1 to 240, got {text!r}")


def make_command(args: argparse.Namespace) -> int:
    """Makes a set from prompts."""
    from alchemint_jax.endpoints import ChatClient, Fuse
    from alchemint_jax.evaluate.boards.making import Rules, make, read_prompts

    check_outputs([("--out", args.out)], [("PROMPTS", args.prompts), ("--pictures", args.pictures)])
    requests = read_prompts(args.prompts)
    rules = Rules(
        subjects=args.subjects,
        seconds=args.seconds,
        fps=args.fps,
        size=args.size,
        seed=args.seed,
        detectable=args.detectable,
    )
    client = None
    if server := _server(args, "llm"):
        client = ChatClient(server, answers=_answers(args), fuse=Fuse())
    with contextlib.redirect_stdout(sys.stderr):
        pictures, made_of = _pictures(args)
        if client is not None:
            made_of["llm_model"] = args.llm_model or "auto"
        made = make(requests, args.out, rules, pictures, client, made_of, args.jobs)
    return _said(made.path, made.boards, made.left_out, made.remarks)


def import_command(args: argparse.Namespace) -> int:
    """Reads a benchmark of others."""
    check_outputs(
        [("--out", args.out)], [("the source", args.source), ("--pictures", args.pictures)]
    )
    options = Options(args.shot_seconds, args.seconds, args.fps, args.frames)
    with contextlib.redirect_stdout(sys.stderr):
        pictures, made_of = _pictures(args)
        made = import_boards(
            args.source,
            args.format,
            args.out,
            options,
            pictures,
            limit=args.limit,
            seed=args.seed,
            made_of=made_of,
        )
    return _said(made.path, made.boards, made.left_out, made.remarks)


def export_command(args: argparse.Namespace) -> int:
    """Writes a set as another system takes it."""
    boards = _boards(args.boards)
    check_outputs([("--out", args.out)], [("the boards", boards)])
    options = Options(shot_seconds=args.shot_seconds, fps=args.fps)
    made = export_boards(boards, args.format, args.out, options)
    return _said(made.folder, made.boards, made.left_out, made.remarks)


def check_command(args: argparse.Namespace) -> int:
    """Looks for mistakes in a set; the status says whether there are any."""
    from alchemint_jax.evaluate.boards.checking import check

    path = _boards(args.boards)
    report = check(path)
    if args.json:
        print(json.dumps({"boards": str(path), **dataclasses.asdict(report)}))
    else:
        for name, value in report.figures.items():
            print(f"{name.replace('_', ' ')}: {_shown(value)}")
    if report.problems:
        problems = listed(report.problems, 20)
        raise DataError("\n".join([f"{path} cannot be used:", *problems]))
    if not args.json:
        _warn(report.remarks)
    return 0


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} with {number}" for number, count in value.items())
    if isinstance(value, list):
        return " to ".join(f"{one:g}" for one in dict.fromkeys(value))
    return str(value)


def _boards(name: str) -> Path:
    path = find(name)
    if path is None:
        raise DataError(f"{name}: no such file, nor a set of this package ({', '.join(names())})")
    return path


def _said(path: Path, boards: int, left_out: tuple[str, ...], remarks: tuple[str, ...]) -> int:
    _warn([*left_out, *remarks])
    print(f"{path}: {boards} board{'' if boards == 1 else 's'}")
    return 0


def _warn(lines: list[str] | tuple[str, ...]) -> None:
    for line in listed(lines, 10):
        print(f"alchemint: warning: {line}", file=sys.stderr)


def _server(args: argparse.Namespace, kind: str) -> Any:
    """The server of a kind; None if there is none."""
    from alchemint_jax.endpoints import Server

    url, model = getattr(args, f"{kind}_url"), getattr(args, f"{kind}_model")
    if not url:
        if model:
            raise ConfigError(f"--{kind}-model {model}: says nothing without --{kind}-url")
        return None
    return Server(url, model or "auto", args.timeout, args.tries)


def _answers(args: argparse.Namespace) -> Any:
    from alchemint_jax.endpoints import Answers

    root = caches.cache_root()
    folder = Path(args.answers) if args.answers else (root / "answers" if root else None)
    return Answers(folder)


def _pictures(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Who has pictures, and what says so in benchmark.json; no one has, if nobody was named."""
    from alchemint_jax.endpoints import Fuse, PictureClient
    from alchemint_jax.evaluate.boards import pictures

    sources: list[pictures.PictureSource] = []
    made_of: dict[str, Any] = {}
    server = _server(args, "image")
    if args.pictures:
        sources.append(pictures.from_place(args.pictures))
        made_of["pictures"] = [Path(args.pictures).name, signature(args.pictures)]
    if server:
        client = PictureClient(server, args.image_size, answers=_answers(args), fuse=Fuse())
        sources.append(pictures.Drawn(client))
        made_of["image_model"] = args.image_model or "auto"
    if not sources:
        if args.cut_out:
            raise AlchemintError("--cut-out: there are no pictures; give --pictures or --image-url")
        return None, made_of
    found: pictures.PictureSource = pictures.First(tuple(sources))
    if args.cut_out:
        from alchemint_jax.perceive.u2netp import U2netSegmenter

        found, made_of["cut_out"] = pictures.CutOut(found, U2netSegmenter(side=320)), True
    return found, made_of
