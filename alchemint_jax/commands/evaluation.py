"""`alchemint evaluate`: a model, videos of any system, or whoever measures them."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from pathlib import Path
from typing import Any

import alchemint_jax as al
from alchemint_jax import places
from alchemint_jax.commands import shared
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import ConfigError
from alchemint_jax.outputs import check_outputs

_MOST_WORKERS = 8  # unless more are asked for
_CALIBRATED = 24  # clips of a world, unless others are asked for
_OF_MODELS = (
    *("steps", "solver", "batch", "gating", "relay", "ts_attn", "tempo", "inbetween"),
    *("contrast", "tempo_layers", "tempo_signal"),
    *("guidance_text", "guidance_image", "guidance_both", "guidance_low", "guidance_interval"),
    *("clean_keyframes", "cache"),
)


def evaluate(args: argparse.Namespace) -> int:
    """Measures a model, or videos, on a benchmark; or whoever measures, on clips that are known."""
    from alchemint_jax import media
    from alchemint_jax.evaluate import html_report
    from alchemint_jax.worlds import named

    if args.calibrate:
        return _calibrate(args)
    _refuse(args, ("second",), "is for --calibrate")
    if args.videos:
        return _evaluate_videos(args)
    _refuse(args, ("workers",), "is for --videos; a model renders in one process")
    _refuse(args, ("truth",), "is for --videos")
    where = places.place(args.out)
    if places.is_address(where):
        places.check(where, writes=True)
    else:
        media.check_folder(where)
    model = shared.model_name("--model", args.model)
    inputs = [*shared.model_parts(model), *_files(args)]
    check_outputs([("--out", where / name) for name in html_report.FILES], inputs)
    weights = shared.guidance_weights(args)
    with contextlib.redirect_stdout(sys.stderr), places.written(where) as out:
        prepare_jax()
        from alchemint_jax.evaluate import run_benchmark
        from alchemint_jax.sampling.control import Gating, Inbetween, TempoControl, Together
        from alchemint_jax.sampling.control.telling import told_by

        benchmark = named.chosen(
            args.benchmark,
            args.tracker,
            args.limit,
            # Who looks at whole videos may be another one than who finds subjects in drawn ones.
            perceivers=None if args.quality and not args.tracker else args.perceivers,
        )
        options = shared.given(
            limit=args.limit,
            seed=args.seed,
            steps=args.steps,
            batch=args.batch,
            guidance=weights or None,
            solver=args.solver,
            control=Together.of(
                Gating.of(args.gating),
                Inbetween.of(args.inbetween),
                TempoControl.of(args.tempo, args.tempo_layers, args.tempo_signal),
            ),
            relay=told_by(args.relay, args.ts_attn, args.contrast),
            clean_keyframes=args.clean_keyframes,
            cache=args.cache,
            judge=_judges(args),
        )
        report = run_benchmark(model, benchmark, out, **options)
    print("\n".join(shared.report_lines(report)))
    return 0


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
    if not args.quality:
        _refuse(args, ("truth",), "is for --quality, which compares whole videos with it")
    with contextlib.redirect_stdout(sys.stderr):
        import jax

        from alchemint_jax.evaluate import html_report
        from alchemint_jax.evaluate.videos import score_videos

        # Other processes watch; this one would keep an accelerator's memory from them.
        jax.config.update("jax_platforms", "cpu")
        asks, make, settings = _asked(args)
        written = [("--out", out / name) for name in html_report.FILES]
        inputs = [("--videos", args.videos), ("--truth", args.truth)]
        check_outputs(written, [*inputs, *_files(args)])
        report = score_videos(
            args.videos,
            asks,
            make,
            out,
            workers=args.workers or min(os.cpu_count() or 1, _MOST_WORKERS),
            benchmark=args.benchmark,
            settings=settings,
            judge=_judges(args),
            truth=args.truth,
        )
    if missing := report["settings"]["missing"]:
        shared.warn(
            [f"{missing} of {report['clips']} videos are missing or broken; report.json says why"]
        )
    if others := report["others"]:
        shared.warn([f"{len(others)} videos belong to no case, such as {others[0]}"])
    print("\n".join(shared.report_lines(report)))
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    """Measures whoever measures."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    _refuse(args, (*_OF_MODELS, "workers"), "is not for --calibrate, which renders nothing")
    _refuse(args, ("truth",), "is for --quality; with --calibrate the boards tell the truth")
    if args.quality:
        raise ConfigError("--quality is not for --calibrate, which is about times")
    with contextlib.redirect_stdout(sys.stderr):
        prepare_jax()
        from alchemint_jax.evaluate import calibration
        from alchemint_jax.worlds import named

        asks, make, settings = _asked(args)
        inputs = [("--videos", args.videos), *_files(args)]
        written = [("--out", out / name) for name in (calibration.NAME, calibration.PAGE)]
        check_outputs(written, inputs)
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


def _asked(args: argparse.Namespace) -> tuple[list[Any], Any, dict[str, Any]]:
    """What is asked of videos, what makes their tracker, and what a report says of it."""
    from alchemint_jax.evaluate.asks import Ask, read_asks
    from alchemint_jax.worlds import named

    file = named.file(args.benchmark)
    name = args.tracker or ("sprites" if args.benchmark == "sprites" else named.PERCEIVED)
    make = functools.partial(named.tracker, name, args.perceivers)
    settings: dict[str, Any] = {"tracker": name}
    if args.perceivers:
        settings["perceivers"] = args.perceivers
    if file is not None:
        boards = al.evaluate.read_benchmark(file, make(), args.limit, pictures=False)
        return read_asks(boards), make, settings
    world = named.world(args.benchmark)
    limit = world.limit if args.limit is None else args.limit
    try:
        cases = world.cases(None, limit, args.seed or 0)
    except AttributeError as error:  # of None
        raise ConfigError(
            f"--benchmark {args.benchmark}: its cases depend on the model that renders them, and "
            f"--videos has none ({error})"
        ) from error
    return [Ask.of_scene(case) for case in cases], make, settings


def _judges(args: argparse.Namespace) -> Any:
    """What loads who measures whole videos, if anybody is to."""
    from alchemint_jax.evaluate.quality.reporting import load_judges

    return load_judges(args.perceivers, args.truth is not None) if args.quality else None


def _files(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """The benchmark, if it is a file that must stay as it is."""
    from alchemint_jax.worlds import named

    file = named.file(args.benchmark)
    return [] if file is None else [("--benchmark", file)]
