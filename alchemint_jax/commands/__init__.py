"""What each command of the command line does with its parsed arguments; exit statuses are returned.

A command checks what it was given, then calls one Python function with it. JAX is imported only
after the checks, so that mistakes are reported at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import alchemint_jax as al
from alchemint_jax import places
from alchemint_jax.commands import shared
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.outputs import check_outputs

_NO_PATHS = (("cache", "auto"), ("vae", "tiny"))  # values of options that are paths otherwise


def generate(args: argparse.Namespace) -> int:
    """Renders a storyboard."""
    from alchemint_jax import media

    out = media.check_writable(args.out, [".mp4"])
    sheet = media.check_writable(args.sheet, [".png"]) if args.sheet else None
    board = al.Storyboard.load(args.storyboard)
    model = shared.model_name("--model", args.model)
    inputs = [("STORYBOARD", args.storyboard), *board.pictures(), *shared.model_parts(model)]
    inputs += [("--lora", path) for path, _ in args.lora]
    inputs += [("--lora-2", path) for path, _ in args.lora_2]
    for name in ("transformer", "transformer_2", "vae", "cache"):
        if (path := getattr(args, name)) and (name, path) not in _NO_PATHS:
            inputs.append((f"--{name.replace('_', '-')}", Path(path)))
    check_outputs([("--out", out), ("--sheet", sheet)], inputs)
    seed = next(s for s in (args.seed, board.seed, 0) if s is not None)
    weights = shared.guidance_weights(args)

    began = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):  # standard output holds the result and no more
        prepare_jax()
        from alchemint_jax.sampling.control import Gating, Inbetween, TempoControl, Together
        from alchemint_jax.sampling.control.telling import told_by

        gating = Gating.of(args.gating)
        relay = told_by(args.relay, args.ts_attn, args.contrast)
        tempo = TempoControl.of(args.tempo, args.tempo_layers, args.tempo_signal)
        if tempo and tempo.words:
            sounds = [("--tempo", Path(one.audio)) for one in tempo.words if one.audio]
            check_outputs([("--out", out), ("--sheet", sheet)], sounds)
        options = {"int8_text": args.int8_text, "loras": args.lora, "dtype": args.dtype}
        options |= {"transformer": args.transformer, "kind": args.model_kind, "relay": relay}
        options |= {"clean_keyframes": bool(args.clean_keyframes), "cache": args.cache}
        options |= {"transformer_2": args.transformer_2, "loras_2": args.lora_2, "vae": args.vae}
        pipe = al.Pipeline.load(model, **options)
        plan = pipe.settings.plan(args.steps, weights, args.solver)
        inbetween = Inbetween.of(args.inbetween)
        scene = pipe.scene(board)  # an error should not come after warnings that it makes idle
        shared.warn(board.warnings())
        frames = pipe.generate(
            board,
            seed=seed,
            steps=plan.steps,
            guidance=plan.weights,
            progress=True,
            solver=plan.solver,
            control=Together.of(gating, inbetween, tempo),
        )
        fps = float(scene.clock.fps)
        with shared.tidy():
            media.write_video(out, frames, fps)
            if sheet:
                media.write_png(sheet, media.contact_sheet(frames, scene))

    if args.json:
        report = {
            "video": str(out),
            "sheet": str(sheet) if sheet else None,
            "model": model,
            "transformer": args.transformer,
            "transformer_2": args.transformer_2,
            "vae": args.vae,
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
            "guidance_low": dataclasses.asdict(plan.guidance_low) if plan.guidance_low else None,
            "keyframes": scene.given_at,
            "cuts": scene.cuts,
            "gating": dataclasses.asdict(gating) if gating else None,
            "inbetween": dataclasses.asdict(inbetween) if inbetween else None,
            "relay": relay.settings() if relay and args.relay else None,
            "ts_attn": relay.settings() if relay and args.ts_attn else None,
            "tempo": tempo.settings() if tempo else None,
            "cache": args.cache,
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


def draw_sprites(args: argparse.Namespace) -> int:
    """Draws the sprites dataset."""
    from alchemint_jax import media
    from alchemint_jax.worlds import sprites

    out = media.check_folder(args.out)
    with contextlib.redirect_stdout(sys.stderr), shared.tidy():
        kinds = {name: getattr(args, name) for name in ("frames", "events", "cuts", "worded")}
        sprites.write_sprites(out, args.clips, args.seed, **kinds)
    print(out)
    return 0


def encode_data(args: argparse.Namespace) -> int:
    """Encodes a dataset with a video autoencoder."""
    from alchemint_jax import data, media
    from alchemint_jax.data import command as data_command

    out = media.check_folder(args.out)
    source, vae = shared.existing_folder("--data", args.data), shared.model_name("--vae", args.vae)
    read = [("--data", source), ("--vae", shared.model_folder(vae))]
    if args.text is not None:
        read.append(("--text", shared.model_folder(shared.model_name("--text", args.text))))
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
    source = shared.existing_folder("--data", args.data)
    # A sheet may lie beside the data it shows, but takes the place of nothing there.
    parts = [("--data", path) for path in source.rglob("*") if path.is_file()]
    check_outputs([("--out", out)], parts)
    with contextlib.redirect_stdout(sys.stderr), shared.tidy():
        data.write_sheet(source, out)
    print(out)
    return 0


def convert_model(args: argparse.Namespace) -> int:
    """Writes a model in another format."""
    from alchemint_jax.weights import convert, left_out

    source = (
        args.source if Path(args.source).is_file() else shared.model_name("--from", args.source)
    )
    where = places.place(args.to)
    if places.is_address(where):
        places.check(where, writes=True)
        if places.holds(where):
            raise WeightsError(f"{where} exists already; give a new address")
    if not Path(source).is_file():
        given = args.source if places.is_address(args.source) else shared.model_folder(source)
        check_outputs([("--to", where)], [("--from", given)])
    with contextlib.redirect_stdout(sys.stderr), shared.tidy(), places.written(where) as target:
        prepare_jax()
        written = convert(source, target, args.format, dtype=args.dtype, progress=True)
        shared.warn([f"{name} was not converted" for name in left_out(source, args.format)])
    print(f"{args.to}: {', '.join(written)}")
    return 0


def demo(args: argparse.Namespace) -> int:
    """Renders the examples and measures what appeared when."""
    from alchemint_jax import media

    out = media.check_folder(args.out)
    prepare_jax()
    from alchemint_jax.demo import run_demo

    return run_demo(out)
