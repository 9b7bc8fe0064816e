"""`alchemint bench`: how fast things are on the hardware that is here."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from alchemint_jax import arguments
from alchemint_jax.compilation import fresh_compilations, spare_libtpu
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.outputs import check_outputs

_OF_CONFIG = ("size", "frames", "references", "events", "batch", "gating", "tile")
_PEERS = {
    "diffusers": ("torch", "diffusers", "transformers"),
    "diffsynth": ("torch", "diffsynth", "transformers"),
}
"""Libraries that make whole videos beside ours, and what of them must be installed."""
_PROMPT = "a red disc glides past while a blue star bounces in"


def add_parser(commands: Any) -> None:
    """Adds the command to `commands`, the subparsers of the command line."""
    about = "measure forward pass, training step, sampling and autoencoder on the hardware here"
    c = commands.add_parser("bench", help=about, description=about[0].upper() + about[1:] + ".")
    c.usage = (
        "alchemint bench [--config FILE.py[:ARGUMENT]] [--case NAME ...] [--vs torch|ungated] "
        "[options] [--config.FIELD=VALUE ...], or alchemint bench --vs diffusers|diffsynth "
        "--model DIR"
    )
    c.set_defaults(command=run, parser=c)
    c.add_argument(
        "--case",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="only these; a config has forward, train, sample, vae-encode and vae-decode, and "
        "where they are named attention (of one layer) and video (all steps, and decoding)",
    )
    c.add_argument(
        "--config",
        type=arguments.config,
        metavar="FILE.py[:ARGUMENT]",
        help="see configs/; default: small networks of fixed sizes, and the sprites model",
    )
    c.add_argument(
        "--size", type=arguments.size, metavar="480x832", help="pixels; default: the config's"
    )
    c.add_argument(
        "--frames", type=arguments.whole(1), metavar="N", help="pixel frames; default: the config's"
    )
    c.add_argument(
        "--references", type=arguments.whole(0), metavar="N", help="default: the config's slots"
    )
    c.add_argument(
        "--events",
        type=arguments.whole(0),
        metavar="N",
        help="default: 2, where the model has events",
    )
    c.add_argument(
        "--batch",
        type=arguments.whole(1),
        metavar="N",
        help="clips; default: 1 (training: 1 a device)",
    )
    arguments.add_gating(c)
    c.add_argument(
        "--tile",
        type=arguments.whole(1),
        metavar="N",
        help="pixels of the autoencoder's tiles (default 256); as large as frames for none",
    )
    c.add_argument(
        "--repeats", type=arguments.whole(1), default=7, metavar="N", help="timed calls (default 7)"
    )
    c.add_argument(
        "--vs",
        choices=("torch", "ungated", *_PEERS),
        help="in turn with ours: torch, the same work in PyTorch and diffusers; ungated, the same "
        "without --gating; a library, whole videos",
    )
    c.add_argument(
        "--model",
        metavar="DIR",
        help="a text-to-video model in the format of diffusers, whose videos a library makes too",
    )
    c.add_argument("--prompt", metavar="TEXT", help="of these videos")
    c.add_argument(
        "--steps", type=arguments.whole(1), metavar="N", help="of these videos; the model's own"
    )
    c.add_argument("--out", metavar="FILE.json", help="also write the result")
    c.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measures, and prints what was measured."""
    from alchemint_jax import media

    out = media.check_writable(args.out, [".json"]) if args.out else None
    config = args.config and args.config.partition(":")[0]
    check_outputs([("--out", out)], [("--config", config)])
    given = _given(args)
    if args.vs in _PEERS or args.model is not None:
        return _beside_peer(args, given, out)
    for name in ("steps", "prompt"):
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name} is of whole videos; give --vs diffusers and --model too")
    if args.config is None and (given or args.overrides):
        option = f"--{next(iter(given))}" if given else f"--config.{args.overrides[0]}"
        raise ConfigError(f"{option} changes a config; give --config FILE.py too")
    if args.vs == "ungated" and args.gating is None:
        raise ConfigError("--vs ungated is what --gating costs; give --gating too")
    if args.vs == "torch":
        _look_for("torch", ("torch", "diffusers"))
    with contextlib.redirect_stdout(sys.stderr), fresh_compilations():
        spare_libtpu()
        result = _measured(args)
    from alchemint_jax.bench.bench_text import as_text

    _tell(result, out, args.json, as_text)
    return 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """What the arguments change of a config's cases."""
    return {name: getattr(args, name) for name in _OF_CONFIG if getattr(args, name) is not None}


def cases(args: argparse.Namespace) -> list[Any]:
    """The cases that the arguments ask for."""
    from alchemint_jax.bench import suite
    from alchemint_jax.sampling.control import Gating

    if args.config is None:
        return suite.default_cases(args.case)
    given = _given(args) | {"gating": Gating.of(args.gating)}
    return suite.config_cases(args.config, args.case, args.overrides, **given)


def _measured(args: argparse.Namespace) -> dict[str, Any]:
    from alchemint_jax.bench import runner

    beside = {"torch": _torch, "ungated": runner.ungated}.get(args.vs)
    return runner.run(cases(args), args.repeats, beside() if beside else None, _say)


def _beside_peer(args: argparse.Namespace, given: dict[str, Any], out: Any) -> int:
    """Whole videos by us and by another library; 1 where their frames differ."""
    from alchemint_jax import weights

    if args.vs not in _PEERS or args.model is None:
        raise ConfigError(f"--model and --vs {' or '.join(_PEERS)} belong together; give both")
    others = [f"--{name}" for name in given if name not in ("size", "frames")]
    others += ["--case"] if args.case else []
    if others or args.config is not None or args.overrides:
        raise ConfigError(
            f"{(*others, '--config')[0]} goes with cases; of whole videos there are --size, "
            "--frames, --steps and --prompt"
        )
    weights.locate(args.model)
    check_outputs([("--out", out)], weights.parts(args.model))
    _look_for(args.vs, _PEERS[args.vs])
    with contextlib.redirect_stdout(sys.stderr):
        from alchemint_jax.bench import peers

        found = peers.run(
            _peer(args.vs), args.model, args.prompt or _PROMPT, args.size, args.frames, args.steps,
            args.repeats, _say,
        )  # fmt: skip
    _tell(found, out, args.json, peers.as_text)
    return 0 if found["same"] else 1


def _tell(found: dict[str, Any], out: Any, as_json: bool, as_text: Callable[[Any], str]) -> None:
    """Prints what was measured, and writes it where it is wanted."""
    from alchemint_jax import media

    text = json.dumps(found, indent=1)
    if out:
        media.write_bytes(out, (text + "\n").encode())
    print(text if as_json else as_text(found))


def _look_for(vs: str, packages: Sequence[str]) -> None:
    """Before anything is measured: is there what to compare with?"""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        install = "diffsynth" if "diffsynth" in missing else "-e '.[parity]'"
        raise AlchemintError(
            f"--vs {vs}: {' and '.join(missing)} cannot be imported here; pip install {install}"
        )
    # Both have their arrays on one GPU; left alone, JAX would take three quarters of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _torch() -> Any:
    """The other side of cases."""
    return _imported("torch", "torch_side").counterpart(_platform())


def _peer(vs: str) -> Any:
    """Another library."""
    return _imported(vs, f"peer_{vs}").peer(_platform())


def _platform() -> str:
    import jax

    return jax.default_backend()


def _imported(vs: str, module: str) -> Any:
    """The module of ours that imports the other side."""
    try:
        return importlib.import_module(f"alchemint_jax.bench.{module}")
    except (ImportError, OSError, RuntimeError) as error:  # diffusers raises all of them
        reason = str(error).strip().partition("\n")[0]
        raise AlchemintError(
            f"--vs {vs}: what it needs is there but cannot be imported ({reason}); "
            "pip install --force-reinstall -e '.[parity]'"
        ) from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
