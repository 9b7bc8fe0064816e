"""The command line: ``alchemint generate | train | annotate | evaluate | data | plan | ...``.

Results go to standard output, progress and messages to standard error. Exit status: 0 done (or
training that SIGTERM stopped, once it is saved), 1 another process of a training job was lost, 2 a
mistake the user can correct, 130 interrupted, 141 nobody reads the output any more, 143 ended by
SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import alchemint_jax as al
from alchemint_jax import arguments, commands, shipped
from alchemint_jax.commands import step_cache
from alchemint_jax.commands.evaluation import evaluate
from alchemint_jax.errors import AlchemintError

_CONFIGURED = ("train", "plan", "bench", "annotate")
"""Commands that take ``--config.FIELD=VALUE``."""
_QUICK = ("generate", "evaluate", "step-cache", "demo")
"""Commands for which modules of other commands are not imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        try:
            with _plain_warnings():
                args = _parse(sys.argv[1:] if argv is None else list(argv))
                return args.command(args)
        finally:
            sys.stdout.flush()  # here, where a reader that went away can be dealt with
    except KeyboardInterrupt:
        print("alchemint: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except AlchemintError as error:
        print(f"alchemint: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"alchemint: error: {what}", file=sys.stderr)
        _silence_stdout()  # if it is standard output that fails, it would fail again at exit
        return 2


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one sentence, without the line of Python that gave them."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"alchemint: warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _silence_stdout() -> None:
    """Send what is still buffered nowhere; the interpreter would complain about it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)  # --config.x must not pass for --config

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"alchemint: error: {message}\nFor help: {self.prog} --help\n")


def _parse(argv: list[str]) -> argparse.Namespace:
    name = argv[0] if argv else ""
    args, unknown = _parser(whole=name not in _QUICK).parse_known_args(argv)
    if name in _CONFIGURED:
        args.overrides = _overrides(args.parser, unknown)
    elif unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _overrides(parser: argparse.ArgumentParser, unknown: list[str]) -> list[str]:
    """``--config.a=1 --config.b.c 2`` as ``["a=1", "b.c=2"]``."""
    found, rest = [], list(unknown)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--config."):
            parser.error(f"unrecognized argument: {word}")
        if "=" not in word:
            if not rest or rest[0].startswith("--"):
                parser.error(f"{word} needs a value: {word}=VALUE")
            word = f"{word}={rest.pop(0)}"
        found.append(word.removeprefix("--config."))
    return found


def _parser(whole: bool = True) -> argparse.ArgumentParser:
    """The parser of all commands; if not `whole`, without those of other rooms."""
    parser = _Parser(
        prog="alchemint", description="Say what appears in a video, and when.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"alchemint {al.__version__}")
    names = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    steps, many = arguments.whole(1, 1000), arguments.whole(1, 10**9)

    def add(to: Any, name: str, run: Callable[[argparse.Namespace], int], help: str) -> Any:
        command = to.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        command.set_defaults(command=run, parser=command)
        return command

    c = add(names, "generate", commands.generate, "render a storyboard")
    c.add_argument(
        "storyboard", type=shipped.find, metavar="STORYBOARD", help="a .yaml or .json storyboard"
    )
    c.add_argument("--out", required=True, metavar="V.mp4", help="the video to write")
    c.add_argument("--model", default="sprites", help="'sprites' (bundled, default) or a folder")
    c.add_argument(
        "--seed", type=arguments.seed, metavar="N", help="default: the storyboard's, or 0"
    )
    c.add_argument("--steps", type=steps, metavar="N", help="solver steps")
    c.add_argument("--solver", choices=("euler", "unipc"), help="default: the model's own")
    arguments.add_guidance(c)
    arguments.add_gating(c)
    arguments.add_relay(c)
    arguments.add_ts_attn(c)
    arguments.add_inbetween(c)
    arguments.add_clean_keyframes(c)
    arguments.add_tempo(c)
    arguments.add_cache(c)
    c.add_argument("--sheet", metavar="S.png", help="also draw frames and intervals")
    c.add_argument(
        "--lora",
        type=arguments.lora,
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="merge a LoRA (a file, or a folder of peft's) into the transformer; may be repeated",
    )
    c.add_argument(
        "--transformer",
        metavar="FILE|DIR",
        help="read the transformer from here: a file in Wan's or diffusers' names, or the index of "
        "several",
    )
    arguments.add_parts(c)
    arguments.add_kind(c)
    c.add_argument("--int8-text", action="store_true", help="keep a large text encoder in 8 bits")
    precisions = ("float32", "bfloat16")
    c.add_argument("--dtype", choices=precisions, help="default: float32 on CPU, else bfloat16")
    c.add_argument("--json", action="store_true", help="print one JSON object")

    c = add(names, "train", commands.train, "train a model, or go on training it")
    c.usage = (
        "alchemint train --config FILE.py[:ARGUMENT] --workdir DIR|gs://... "
        "[--config.FIELD=VALUE ...]"
    )
    c.add_argument(
        "--config",
        type=arguments.config,
        required=True,
        metavar="FILE.py[:ARGUMENT]",
        help="see configs/",
    )
    c.add_argument(
        "--workdir", required=True, metavar="DIR|gs://...", help="checkpoints and metrics"
    )
    c.add_argument(
        "--dry-run", action="store_true", help="check the whole job on CPU; write nothing"
    )
    c.add_argument(
        "--devices",
        type=many,
        default=1,
        metavar="N",
        help="the dry run simulates so many (default 1)",
    )
    c.add_argument(
        "--distributed",
        choices=("auto",),
        help="be one process of many, as the environment says (TPU, SLURM)",
    )
    c.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, where the environment does not say it",
    )
    c.add_argument(
        "--processes", type=many, metavar="N", help="number of processes (also for --dry-run)"
    )
    c.add_argument(
        "--process",
        type=arguments.whole(0, 10**9),
        metavar="I",
        help="number of this process, from 0",
    )
    c.add_argument(
        "--interrupted-status",
        type=arguments.whole(0, 255),
        default=0,
        metavar="N",
        help="exit status after SIGTERM, once saved, for schedulers that restart (default 0)",
    )

    about = "measure a model, or the videos of any system, on a benchmark"
    c = add(names, "evaluate", evaluate, about)
    what = c.add_mutually_exclusive_group()
    what.add_argument("--model", default="sprites", help="'sprites' (bundled, default) or a folder")
    what.add_argument(
        "--videos",
        metavar="FOLDER",
        help="videos of any system instead of a model's, named by the ids of the entries (ID.mp4)",
    )
    c.add_argument(
        "--benchmark",
        default="sprites",
        metavar="sprites|FILE.jsonl|NAME|MODULE:NAME",
        help="'sprites' (default), a file with one storyboard (JSON) per line, a set of this "
        "package such as 'everyday', or the benchmark of a world of your own: an object in a "
        "Python module",
    )
    c.add_argument("--out", required=True, metavar="DIR", help="where the report goes")
    c.add_argument(
        "--tracker",
        metavar="sprites|perceived|proposals|MODULE:NAME",
        help="who measures: 'sprites' (the default for files), 'perceived' (a detector and an "
        "embedder that look at real video; the default for --videos), 'proposals' (the embedder "
        "alone), or an object of your own",
    )
    c.add_argument(
        "--perceivers",
        type=arguments.perceivers,
        metavar="KIND=NAME,...",
        help="detector, segmenter and embedder of the perceived tracker and of --quality (default: "
        "embedded ones)",
    )
    c.add_argument(
        "--quality",
        action="store_true",
        help="also measure whole videos: steadiness, motion, likeness (see the guide on quality)",
    )
    c.add_argument(
        "--truth",
        metavar="FOLDER",
        help="with --videos and --quality: the videos that these should be, named alike (PSNR, "
        "SSIM, LPIPS, Frechet video distance)",
    )
    c.add_argument(
        "--calibrate",
        action="store_true",
        help="put known faults into clips of which the benchmark tells the truth (--videos, or the "
        "world's own), and measure how well the tracker finds them",
    )
    c.add_argument(
        "--second",
        metavar="TRACKER",
        help="with --calibrate: a second one who measures, to see what depends on who does",
    )
    c.add_argument(
        "--workers",
        type=many,
        metavar="N",
        help="processes that watch --videos, each of which takes about 1 GB (default: the cores)",
    )
    c.add_argument(
        "--limit", type=many, metavar="N", help="the first N entries (sprites: 128 by default)"
    )
    c.add_argument("--seed", type=arguments.seed, metavar="N", help="default 0")
    c.add_argument("--steps", type=steps, metavar="N", help="solver steps")
    c.add_argument("--solver", choices=("euler", "unipc"), help="default: the model's own")
    arguments.add_guidance(c)
    arguments.add_gating(c)
    arguments.add_relay(c)
    arguments.add_ts_attn(c)
    arguments.add_inbetween(c)
    arguments.add_clean_keyframes(c)
    arguments.add_tempo(c)
    arguments.add_cache(c)
    c.add_argument("--batch", type=many, metavar="N", help="entries rendered at once")

    step_cache.add_parser(names)
    if whole:
        _add_rooms(names, add)

    c = add(names, "demo", commands.demo, "render the examples and measure what appeared when")
    c.add_argument("--out", default="out", metavar="DIR", help="default: out")
    return parser


def _add_rooms(names: Any, add: Callable[..., Any]) -> None:
    """The commands of other rooms: importing these takes longer than many a command."""
    from alchemint_jax.annotate import command as annotate_command
    from alchemint_jax.bench import command as bench_command
    from alchemint_jax.commands import decoded as decoded_command
    from alchemint_jax.commands import paths as paths_command
    from alchemint_jax.data import command as data_command
    from alchemint_jax.evaluate import command as evaluate_command
    from alchemint_jax.evaluate.boards import command as benchmark_command
    from alchemint_jax.plan import command as plan_command
    from alchemint_jax.studio import command as studio_command

    many = arguments.whole(1, 10**9)
    annotate_command.add_parser(names)
    evaluate_command.add_parsers(names)
    benchmark_command.add_parser(names)

    data = names.add_parser("data", help="make and look at datasets")
    kinds = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    c = add(kinds, "sprites", commands.draw_sprites, "draw the sprites dataset")
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    c.add_argument("--clips", required=True, type=many, metavar="N")
    c.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="default 0")
    c.add_argument("--frames", type=many, default=33, metavar="N", help="4k+1, default 33")
    c.add_argument(
        "--events", action="store_true", help="subjects turn another colour, and records say when"
    )
    c.add_argument("--cuts", action="store_true", help="some clips have several shots")
    c.add_argument(
        "--worded", action="store_true", help="one subject, whose caption says what it looks like"
    )
    c = add(kinds, "encode", commands.encode_data, "encode a dataset with a video autoencoder")
    c.add_argument("--data", required=True, metavar="DIR", help="the dataset")
    c.add_argument("--vae", required=True, metavar="DIR", help="'sprites' or a model's folder")
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    data_command.add_arguments(c)
    decoded_command.add_parser(kinds)
    paths_command.add_parser(kinds)
    c = add(kinds, "sheet", commands.draw_data_sheet, "draw a few clips of a dataset")
    c.add_argument("--data", required=True, metavar="DIR", help="the dataset")
    c.add_argument("--out", required=True, metavar="P.png")

    c = add(names, "convert", commands.convert_model, "write a model in another format")
    c.add_argument(
        "--from", required=True, dest="source", metavar="DIR", help="a model's folder, or one file"
    )
    c.add_argument("--to", required=True, metavar="DIR", help="a new folder")
    c.add_argument(
        "--format",
        default="wan-diffusers",
        choices=("wan-diffusers", "wan", "alchemint"),
        help="wan-diffusers (default), wan (the original's names), alchemint",
    )
    c.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        help="default: as it is stored",
    )

    plan_command.add_parser(names)
    bench_command.add_parser(names)
    studio_command.add_parser(names)


_EPILOG = "alchemint COMMAND --help tells more about a command."
