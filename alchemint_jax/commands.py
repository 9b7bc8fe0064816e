"""What each command of the command line does with its parsed arguments; exit statuses are returned.

A command checks what it was given, then calls one Python function with it. JAX is imported only
after the checks, so that mistakes are reported at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import alchemint_jax as al
from alchemint_jax import places
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import ConfigError, DataError, WeightsError, listed
from alchemint_jax.outputs import check_outputs
from alchemint_jax.staging import staged

_MOST_WORKERS = 8  # unless more are asked for
_CALIBRATED = 24  # clips of a world, unless others are asked for


def generate(args: argparse.Namespace) -> int:
    """Renders a storyboard."""
    from alchemint_jax import media

    out = media.check_writable(args.out, [".mp4"])
    sheet = media.check_writable(args.sheet, [".png"]) if args.sheet else None
    board = al.Storyboard.load(args.storyboard)
    model = _model("--model", args.model)
    inputs = [("STORYBOARD", args.storyboard), *board.pictures(), *_parts(model)]
    inputs += [("--lora", path) for path, _ in args.lora]
    check_outputs([("--out", out), ("--sheet", sheet)], inputs)
    seed = next(s for s in (args.seed, board.seed, 0) if s is not None)
    weights = _weights(args)

    began = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):  # standard output holds the result and no more
        prepare_jax()
        from alchemint_jax.sampling.control import Gating

        options = {"int8_text": args.int8_text, "loras": args.lora, "dtype": args.dtype}
        pipe = al.Pipeline.load(model, **options)
        plan = pipe.settings.plan(args.steps, weights, args.solver)
        control = Gating.of(args.gating)
        scene = pipe.scene(board)  # an error should not come after warnings that it makes idle
        _warn(board.warnings())
        frames = pipe.generate(
            board,
            seed=seed,
            steps=plan.steps,
            guidance=plan.guidance,
            progress=True,
            solver=plan.solver,
            control=control,
        )
        fps = float(scene.clock.fps)
        with _tidy():
            media.write_video(out, frames, fps)
            if sheet:
                media.write_png(sheet, media.contact_sheet(frames, scene))

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
            "subjects": [
                {"word": entry.word, "appears": entry.appears, "frames": subject.spans}
                for entry, subject in zip(board.subjects, scene.subjects, strict=True)
            ],
            "events": [
                {"text": entry.text, "during": entry.during, "frames": event.spans}
                for entry, event in zip(board.events, scene.events, strict=True)
            ],
            "steps": plan.steps,
            "solver": plan.solver,
            "guidance": dataclasses.asdict(plan.guidance),
            "gating": dataclasses.asdict(control) if control else None,
        }
        print(json.dumps(report))
    else:
        print("\n".join(str(path) for path in (out, sheet) if path))
    return 0


def train(args: argparse.Namespace) -> int:
    """Trains a model, or goes on training it; or looks at the whole job."""
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


def evaluate(args: argparse.Namespace) -> int:
    """Measures a model, or videos, on a benchmark; or whoever measures, on clips that are known."""
    from alchemint_jax import media

    if args.calibrate:
        return _calibrate(args)
    _refuse(args, ("second",), "is for --calibrate")
    if args.videos:
        return _evaluate_videos(args)
    _refuse(args, ("workers",), "is for --videos; a model renders in one process")
    where = places.place(args.out)
    if places.is_address(where):
        places.check(where, writes=True)
    else:
        media.check_folder(where)
    model = _model("--model", args.model)
    inputs = [*_parts(model)]
    if Path(args.benchmark).is_file():
        inputs.append(("--benchmark", args.benchmark))
    check_outputs([("--out", where / name) for name in ("report.json", "report.html")], inputs)
    weights = _weights(args)
    with contextlib.redirect_stdout(sys.stderr), places.written(where) as out:
        prepare_jax()
        from alchemint_jax.evaluate import run_benchmark
        from alchemint_jax.sampling.control import Gating

        benchmark = _benchmark(args)
        options = _given(
            limit=args.limit,
            seed=args.seed,
            steps=args.steps,
            batch=args.batch,
            guidance=weights or None,
            solver=args.solver,
            control=Gating.of(args.gating),
        )
        report = run_benchmark(model, benchmark, out, **options)
    print("\n".join(_lines(report)))
    return 0


_OF_MODELS = (
    *("steps", "solver", "batch", "gating"),
    *("guidance_text", "guidance_image", "guidance_both"),
)


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raises ConfigError for an option that would be ignored."""
    for name in names:
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} {why}")


def _evaluate_videos(args: argparse.Namespace) -> int:
    """Measures the videos of any system."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    _refuse(args, _OF_MODELS, "is for models; --videos are there already")
    with contextlib.redirect_stdout(sys.stderr):
        import jax

        from alchemint_jax.evaluate.videos import score_videos

        # Other processes watch; this one would keep an accelerator's memory from them.
        jax.config.update("jax_platforms", "cpu")
        asks, make, settings = _asked(args)
        written = [("--out", out / name) for name in ("report.json", "report.html")]
        check_outputs(written, [("--videos", args.videos), *_file("--benchmark", args.benchmark)])
        report = score_videos(
            args.videos,
            asks,
            make,
            out,
            workers=args.workers or min(os.cpu_count() or 1, _MOST_WORKERS),
            benchmark=args.benchmark,
            settings=settings,
        )
    if missing := report["settings"]["missing"]:
        _warn(
            [f"{missing} of {report['clips']} videos are missing or broken; report.json says why"]
        )
    if others := report["others"]:
        _warn([f"{len(others)} videos belong to no case, such as {others[0]}"])
    print("\n".join(_lines(report)))
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    """Measures whoever measures."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    _refuse(args, (*_OF_MODELS, "workers"), "is not for --calibrate, which renders nothing")
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        from alchemint_jax.evaluate import calibration
        from alchemint_jax.worlds import named

        asks, make, settings = _asked(args)
        inputs = [("--videos", args.videos), *_file("--benchmark", args.benchmark)]
        check_outputs([("--out", out / calibration.NAME)], inputs)
        if args.videos:
            truths = calibration.of_videos(args.videos, asks)
        else:
            truths = _clips(args)
        second = None
        if args.second:
            second = named.tracker(args.second, args.perceivers)
            settings["second"] = args.second
        found = calibration.calibrate(truths, make(), settings=settings, second=second)
        calibration.save(found, out)
    print("\n".join(calibration.lines(found)))
    print(out / calibration.NAME)
    return 0


def _clips(args: argparse.Namespace) -> Any:
    """Clips of a world of ours, whose truth is known."""
    from alchemint_jax.evaluate.calibration import Truth
    from alchemint_jax.worlds import named, sprites

    if args.benchmark not in named.OURS:
        raise ConfigError(
            f"--calibrate: of --benchmark {args.benchmark} nobody knows what its clips show; give "
            "them with --videos"
        )
    clips = sprites.sprites_clips(args.limit or _CALIBRATED, args.seed or 0)
    return [Truth(scene, video) for scene, video in clips]


def _file(name: str, path: str) -> list[tuple[str, str]]:
    return [(name, path)] if Path(path).is_file() else []


def _asked(args: argparse.Namespace) -> tuple[list[Any], Any, dict[str, Any]]:
    """What is asked of videos, what makes their tracker, and what a report says of it."""
    from alchemint_jax.evaluate.asks import Ask, read_asks
    from alchemint_jax.worlds import named

    of_file = Path(args.benchmark).is_file()
    name = args.tracker or ("sprites" if args.benchmark == "sprites" else named.PERCEIVED)
    make = functools.partial(named.tracker, name, args.perceivers)
    settings: dict[str, Any] = {"tracker": name}
    if args.perceivers:
        settings["perceivers"] = args.perceivers
    if of_file:
        boards = al.evaluate.read_benchmark(args.benchmark, make(), args.limit)
        return read_asks(boards), make, settings
    world = _world(args)
    limit = world.limit if args.limit is None else args.limit
    cases = world.cases(None, limit, args.seed or 0)
    return [Ask.of_scene(case) for case in cases], make, settings


def _benchmark(args: argparse.Namespace) -> Any:
    """The cases that were asked for, and who measures them."""
    from alchemint_jax.evaluate import read_benchmark
    from alchemint_jax.worlds import named

    if Path(args.benchmark).is_file():
        tracker = named.tracker(args.tracker or "sprites", args.perceivers)
        return read_benchmark(args.benchmark, tracker, args.limit)
    _refuse(args, ("perceivers",), "is for files and --videos; a world has a tracker of its own")
    if args.tracker:
        raise ConfigError(
            f"--tracker {args.tracker}: is for files; the world of --benchmark {args.benchmark} "
            "has a tracker of its own"
        )
    return _world(args)


def _world(args: argparse.Namespace) -> Any:
    """The benchmark of a world."""
    from alchemint_jax.worlds import named

    if args.benchmark not in named.OURS and ":" not in args.benchmark:
        raise DataError(
            f"--benchmark {args.benchmark}: neither 'sprites' nor a file (one storyboard per line) "
            "nor MODULE:NAME (a benchmark in a Python module)"
        )
    return named.benchmark(args.benchmark)


def draw_sprites(args: argparse.Namespace) -> int:
    """Draws the sprites dataset."""
    from alchemint_jax import media
    from alchemint_jax.worlds import sprites

    out = media.check_folder(args.out)
    with contextlib.redirect_stdout(sys.stderr), _tidy():
        sprites.write_sprites(out, args.clips, args.seed, frames=args.frames, events=args.events)
    print(out)
    return 0


def encode_data(args: argparse.Namespace) -> int:
    """Encodes a dataset with a video autoencoder."""
    from alchemint_jax import data, media
    from alchemint_jax.data import command as data_command

    out = media.check_folder(args.out)
    source, vae = _folder("--data", args.data), _model("--vae", args.vae)
    read = [("--data", source), ("--vae", _located(vae))]
    if args.text is not None:
        read.append(("--text", _located(_model("--text", args.text))))
    check_outputs([("--out", out)], read)
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        chosen, options = data_command.encoding(args)
        data.encode_dataset(source, vae, out, chosen, **options)
    print(out)
    return 0


def draw_data_sheet(args: argparse.Namespace) -> int:
    """Draws a few clips of a dataset."""
    from alchemint_jax import data, media

    out = media.check_writable(args.out, [".png"])
    source = _folder("--data", args.data)
    # A sheet may lie beside the data it shows, but takes the place of nothing there.
    parts = [("--data", path) for path in source.rglob("*") if path.is_file()]
    check_outputs([("--out", out)], parts)
    with contextlib.redirect_stdout(sys.stderr), _tidy():
        data.write_sheet(source, out)
    print(out)
    return 0


def convert_model(args: argparse.Namespace) -> int:
    """Writes a model in another format."""
    from alchemint_jax.weights import convert, left_out

    source = args.source if Path(args.source).is_file() else _model("--from", args.source)
    where = places.place(args.to)
    if places.is_address(where):
        places.check(where, writes=True)
        if places.holds(where):
            raise WeightsError(f"{where} exists already; give a new address")
    if not Path(source).is_file():
        given = args.source if places.is_address(args.source) else _located(source)
        check_outputs([("--to", where)], [("--from", given)])
    with contextlib.redirect_stdout(sys.stderr), _tidy(), places.written(where) as target:
        prepare_jax()
        written = convert(source, target, args.format, dtype=args.dtype, progress=True)
        _warn([f"{name} was not converted" for name in left_out(source, args.format)])
    print(f"{args.to}: {', '.join(written)}")
    return 0


def demo(args: argparse.Namespace) -> int:
    """Renders the examples and measures what appeared when."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    prepare_jax()
    from alchemint_jax.demo import run_demo

    return run_demo(out)


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


def _warn(warnings: list[str]) -> None:
    for warning in listed(warnings):
        print(f"alchemint: warning: {warning}", file=sys.stderr)


def _parts(model: str) -> list[tuple[str, Path]]:
    """What `check_outputs` is to keep of a model.

    A video or a report may lie beside the parts of a model, as other files do, for they are all
    that is read there; what is a folder itself, as a model or a dataset, is written elsewhere.
    """
    from alchemint_jax.weights import parts

    return [("a part of --model:", path) for path in parts(model)]


def _located(model: str) -> Path:
    """The folder of a model, bundled or not."""
    from alchemint_jax.weights import BUNDLED, locate

    return locate(model) if model in BUNDLED else Path(model)


def _model(option: str, name: str) -> str:
    from alchemint_jax.weights import BUNDLED, locate, no_model
    from alchemint_jax.weights.directories import in_bucket

    if in_bucket(name):
        return str(locate(name))
    if name in BUNDLED or Path(name).is_dir():
        return name
    raise WeightsError(f"{option} {name}: {no_model(name)}")


def _folder(option: str, name: str) -> Path:
    if places.is_address(name):
        return staged(name)
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
