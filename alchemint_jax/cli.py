"""The command line: ``alchemint generate | train | evaluate | data | plan | bench | ...``.

Every command checks what it was given, then calls one Python function with it. JAX is imported
only after the checks, so mistakes are reported at once. Results go to standard output, progress
and messages to standard error. Exit status: 0 done (or training that SIGTERM stopped, once it is
saved), 1 another process of a training job was lost, 2 a mistake the user can correct, 130
interrupted, 141 nobody reads the output any more, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import alchemint_jax as al
from alchemint_jax import arguments
from alchemint_jax.bench import command as bench_command
from alchemint_jax.errors import AlchemintError, ConfigError, DataError, WeightsError
from alchemint_jax.plan import command as plan_command

MAX_SEED = 2**32 - 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        try:
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


def _silence_stdout() -> None:
    """Send what is still buffered nowhere; the interpreter would complain about it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ------------------------------------------------------------------------------------ commands


def _generate(args: argparse.Namespace) -> int:
    from alchemint_jax import media

    out = media.check_writable(args.out, [".mp4"])
    sheet = media.check_writable(args.sheet, [".png"]) if args.sheet else None
    board = al.Storyboard.load(args.storyboard)
    if sheet and any(sheet.resolve() == s.image.resolve() for s in board.subjects):
        raise AlchemintError(f"--sheet {sheet} would overwrite a reference picture; rename it")
    model = _model("--model", args.model)
    for warning in board.warnings():
        print(f"alchemint: warning: {warning}", file=sys.stderr)
    seed = next(s for s in (args.seed, board.seed, 0) if s is not None)
    weights = _weights(args)

    began = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):  # standard output holds the result and no more
        prepare_jax()
        options = {"int8_text": args.int8_text, "loras": dict(args.lora), "dtype": args.dtype}
        pipe = al.Pipeline.load(model, **options)
        guidance = dataclasses.replace(pipe.settings.guidance, **weights)
        plan = pipe.settings.plan(args.steps, guidance, args.solver)
        frames = pipe.generate(
            board,
            seed=seed,
            steps=plan.steps,
            guidance=plan.guidance,
            progress=True,
            solver=plan.solver,
        )
        fps = float(board.fps or pipe.fps)
        with _tidy():
            media.write_video(out, frames, fps)
            if sheet:
                from alchemint_jax.demo import draw_sheet

                media.write_png(sheet, draw_sheet(board, frames, None, fps))

    if args.json:
        report = {
            "video": str(out),
            "sheet": str(sheet) if sheet else None,
            "model": model,
            "seed": seed,
            "frames": len(frames),
            "fps": fps,
            "size": list(frames.shape[1:3]),
            "seconds": round(time.monotonic() - began, 3),
            "subjects": [{"word": s.word, "appears": s.appears} for s in board.subjects],
            "steps": plan.steps,
            "solver": plan.solver,
            "guidance": dataclasses.asdict(plan.guidance),
        }
        print(json.dumps(report))
    else:
        print("\n".join(str(path) for path in (out, sheet) if path))
    return 0


def _train(args: argparse.Namespace) -> int:
    prepare_jax()
    if args.dry_run:
        from alchemint_jax.train import dry_run

        return dry_run.command(args)
    from alchemint_jax.train import hosts
    from alchemint_jax.train.run import run_config

    with hosts.joined(_hosts(args)):
        result = run_config(args.config, args.workdir, args.overrides)
    if result.interrupted:
        again = "the same command goes on from there"
        print(f"alchemint: interrupted at step {result.step}; {again}", file=sys.stderr)
        # Schedulers send SIGTERM, for which saving is a success; Ctrl-C is to end a script too.
        return 130 if result.signal == signal.SIGINT else args.interrupted_status
    return 0


def _hosts(args: argparse.Namespace) -> Any:
    """Where the other processes of a training job are; None where there is only this one."""
    from alchemint_jax.train.hosts import Hosts

    found = Hosts(args.coordinator, args.processes, args.process)
    if args.distributed and found.coordinator:
        raise ConfigError("--distributed auto finds the coordinator itself; give one of the two")
    return found if args.distributed or found.coordinator else None


def _evaluate(args: argparse.Namespace) -> int:
    from alchemint_jax import media

    out = media.check_folder(args.out)
    model = _model("--model", args.model)
    if args.benchmark != "sprites" and not Path(args.benchmark).is_file():
        raise DataError(
            f"--benchmark {args.benchmark}: neither 'sprites' nor a file (one storyboard per line)"
        )
    weights = _weights(args)
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        from alchemint_jax.evaluate import run_benchmark
        from alchemint_jax.sampling import settings

        guidance = None
        if weights:  # those that were not given are the model's own
            own = settings.load(al.weights.locate(model)).guidance
            guidance = dataclasses.replace(own, **weights)
        options = _given(
            limit=args.limit,
            seed=args.seed,
            steps=args.steps,
            batch=args.batch,
            guidance=guidance,
            solver=args.solver,
        )
        report = run_benchmark(model, args.benchmark, out, **options)
    print("\n".join(_lines(report)))
    return 0


def _data_sprites(args: argparse.Namespace) -> int:
    from alchemint_jax import data, media

    out = media.check_folder(args.out)
    with contextlib.redirect_stdout(sys.stderr), _tidy():
        data.write_sprites(out, args.clips, args.seed, frames=args.frames)
    print(out)
    return 0


def _data_encode(args: argparse.Namespace) -> int:
    from alchemint_jax import data, media

    out = media.check_folder(args.out)
    source, vae = _folder("--data", args.data), _model("--vae", args.vae)
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        data.encode_dataset(source, vae, out)
    print(out)
    return 0


def _data_sheet(args: argparse.Namespace) -> int:
    from alchemint_jax import data, media

    out = media.check_writable(args.out, [".png"])
    source = _folder("--data", args.data)
    with contextlib.redirect_stdout(sys.stderr), _tidy():
        data.write_sheet(source, out)
    print(out)
    return 0


def _convert(args: argparse.Namespace) -> int:
    from alchemint_jax.weights import convert, left_out

    source = args.source if Path(args.source).is_file() else _model("--from", args.source)
    with contextlib.redirect_stdout(sys.stderr), _tidy():
        written = convert(source, args.to, args.format, dtype=args.dtype, progress=True)
        for name in left_out(source, args.format):
            print(f"alchemint: warning: {name} was not converted", file=sys.stderr)
    print(f"{args.to}: {', '.join(written)}")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from alchemint_jax import media

    out = media.check_folder(args.out)
    prepare_jax()
    from alchemint_jax.demo import run_demo

    return run_demo(out)


# ------------------------------------------------------------------------------------- helpers


def prepare_jax() -> None:
    """Keep compiled programs between runs, so that only the first one waits for the compiler.

    They go to ``$XDG_CACHE_HOME/alchemint_jax`` (``~/.cache``), or where
    ``$JAX_COMPILATION_CACHE_DIR`` says. A place that cannot be written is done without.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        cache = Path(base).expanduser() / "alchemint_jax"
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(cache, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(cache))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@contextlib.contextmanager
def _tidy() -> Iterator[None]:
    """Lets SIGTERM, too, remove what is half written: without this it ends the process at once."""

    def stop(number: int, frame: Any) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given: the others keep the default of the function called."""
    return {name: value for name, value in options.items() if value is not None}


def _weights(args: argparse.Namespace) -> dict[str, float]:
    """The guidance that was asked for."""
    return _given(text=args.guidance_text, image=args.guidance_image, both=args.guidance_both)


def _model(option: str, name: str) -> str:
    if name == "sprites" or Path(name).is_dir():
        return name
    raise WeightsError(f"{option} {name}: neither 'sprites' (the bundled model) nor a folder")


def _folder(option: str, name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    raise DataError(f"{option} {name}: no such folder")


def _lines(report: Mapping[str, Any], indent: str = "") -> list[str]:
    """A report for people: numbers and words, nested ones indented.

    Long lists stay in the file, and so do groups without subjects.
    """
    lines: list[str] = []
    for name, value in report.items():
        if isinstance(value, Mapping) and set(value) == {"mean", "low", "high"}:
            mean, low, high = (f"{value[key]:.4g}" for key in ("mean", "low", "high"))
            lines.append(f"{indent}{name}: {mean} ({low} to {high})")
        elif isinstance(value, Mapping):
            if value.get("subjects") != 0:
                lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, float):
            lines.append(f"{indent}{name}: {value:.4g}")
        elif isinstance(value, (str, int, Path)):
            lines.append(f"{indent}{name}: {value}")
    return lines


# ----------------------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)  # --config.x must not pass for --config

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"alchemint: error: {message}\nFor help: {self.prog} --help\n")


def _parse(argv: list[str]) -> argparse.Namespace:
    args, unknown = _parser().parse_known_args(argv)
    if args.command in (_train, plan_command.run, bench_command.run):
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="alchemint", description="Say what appears in a video, and when.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"alchemint {al.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    seed, steps, many = (
        arguments.whole(0, MAX_SEED),
        arguments.whole(1, 1000),
        arguments.whole(1, 10**9),
    )

    def add(to: Any, name: str, run: Callable[[argparse.Namespace], int], help: str) -> Any:
        command = to.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        command.set_defaults(command=run, parser=command)
        return command

    def guidance(command: argparse.ArgumentParser) -> None:
        branches = {"text": "the prompt", "image": "the pictures", "both": "both at once"}
        for branch, of in branches.items():
            command.add_argument(
                f"--guidance-{branch}",
                type=arguments.guidance_weight,
                metavar="G",
                help=f"weight of {of} (0 turns off)",
            )

    c = add(commands, "generate", _generate, "render a storyboard")
    c.add_argument("storyboard", metavar="STORYBOARD", help="a .yaml or .json storyboard")
    c.add_argument("--out", required=True, metavar="V.mp4", help="the video to write")
    c.add_argument("--model", default="sprites", help="'sprites' (bundled, default) or a folder")
    c.add_argument("--seed", type=seed, metavar="N", help="default: the storyboard's, or 0")
    c.add_argument("--steps", type=steps, metavar="N", help="solver steps")
    c.add_argument("--solver", choices=("euler", "unipc"), help="default: the model's own")
    guidance(c)
    c.add_argument("--sheet", metavar="S.png", help="also draw frames and intervals")
    c.add_argument(
        "--lora",
        type=arguments.lora,
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="merge a LoRA into the transformer; may be repeated",
    )
    c.add_argument("--int8-text", action="store_true", help="keep a large text encoder in 8 bits")
    precisions = ("float32", "bfloat16")
    c.add_argument("--dtype", choices=precisions, help="default: float32 on CPU, else bfloat16")
    c.add_argument("--json", action="store_true", help="print one JSON object")

    c = add(commands, "train", _train, "train a model, or go on training it")
    c.usage = "alchemint train --config FILE.py[:ARGUMENT] --workdir DIR [--config.FIELD=VALUE ...]"
    c.add_argument("--config", required=True, metavar="FILE.py[:ARGUMENT]", help="see configs/")
    c.add_argument("--workdir", required=True, metavar="DIR", help="checkpoints and metrics")
    c.add_argument(
        "--dry-run", action="store_true", help="check the whole job on CPU; write nothing"
    )
    c.add_argument(
        "--devices", type=many, default=1, metavar="N", help="of the dry run, pretended (default 1)"
    )
    c.add_argument(
        "--distributed",
        choices=("auto",),
        help="be one process of many, as the environment says (TPU, SLURM)",
    )
    c.add_argument(
        "--coordinator", metavar="HOST:PORT", help="or say where the first of the processes is,"
    )
    c.add_argument(
        "--processes", type=many, metavar="N", help="how many there are (also for --dry-run),"
    )
    c.add_argument(
        "--process",
        type=arguments.whole(0, 10**9),
        metavar="I",
        help="and which this one is, from 0",
    )
    c.add_argument(
        "--interrupted-status",
        type=arguments.whole(0, 255),
        default=0,
        metavar="N",
        help="exit status after SIGTERM, once saved, for schedulers that restart (default 0)",
    )

    c = add(commands, "evaluate", _evaluate, "measure a model on a benchmark")
    c.add_argument("--model", default="sprites", help="'sprites' (bundled, default) or a folder")
    c.add_argument(
        "--benchmark",
        default="sprites",
        metavar="sprites|FILE.jsonl",
        help="'sprites' (default), or a file with one storyboard (JSON) per line",
    )
    c.add_argument("--out", required=True, metavar="DIR", help="where the report goes")
    c.add_argument(
        "--limit", type=many, metavar="N", help="the first N entries (sprites: 128 by default)"
    )
    c.add_argument("--seed", type=seed, metavar="N", help="default 0")
    c.add_argument("--steps", type=steps, metavar="N", help="solver steps")
    c.add_argument("--solver", choices=("euler", "unipc"), help="default: the model's own")
    guidance(c)
    c.add_argument("--batch", type=many, metavar="N", help="entries rendered at once")

    data = commands.add_parser("data", help="make and look at datasets")
    kinds = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    c = add(kinds, "sprites", _data_sprites, "draw the sprites dataset")
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    c.add_argument("--clips", required=True, type=many, metavar="N")
    c.add_argument("--seed", type=seed, default=0, metavar="N", help="default 0")
    c.add_argument("--frames", type=many, default=33, metavar="N", help="4k+1, default 33")
    c = add(kinds, "encode", _data_encode, "encode a dataset with a video autoencoder")
    c.add_argument("--data", required=True, metavar="DIR", help="the dataset")
    c.add_argument("--vae", required=True, metavar="DIR", help="'sprites' or a model's folder")
    c.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    c = add(kinds, "sheet", _data_sheet, "draw a few clips of a dataset")
    c.add_argument("--data", required=True, metavar="DIR", help="the dataset")
    c.add_argument("--out", required=True, metavar="P.png")

    c = add(commands, "convert", _convert, "write a model in another format")
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

    plan_command.add_parser(commands)
    bench_command.add_parser(commands)

    c = add(commands, "demo", _demo, "render the examples and measure what appeared when")
    c.add_argument("--out", default="out", metavar="DIR", help="default: out")
    return parser


_EPILOG = "alchemint COMMAND --help tells more about a command."
