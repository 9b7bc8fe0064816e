"""`alchemint bench`: how fast things are on the hardware that is here."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from typing import Any

from alchemint_jax import arguments
from alchemint_jax.compilation import fresh_compilations, spare_libtpu
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.outputs import check_outputs

_OF_CONFIG = ("size", "frames", "references", "events", "batch")


def add_parser(commands: Any) -> None:
    """Adds the command to `commands`, the subparsers of the command line."""
    about = "measure forward pass, training step, sampling and autoencoder on the hardware here"
    c = commands.add_parser("bench", help=about, description=about[0].upper() + about[1:] + ".")
    c.usage = (
        "alchemint bench [--config FILE.py[:ARGUMENT]] [--case NAME ...] [--vs torch] [options] "
        "[--config.FIELD=VALUE ...]"
    )
    c.set_defaults(command=run, parser=c)
    c.add_argument(
        "--case",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="only these; a config has forward, train, sample, vae-encode and vae-decode",
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
    c.add_argument(
        "--repeats", type=arguments.whole(1), default=7, metavar="N", help="timed calls (default 7)"
    )
    c.add_argument(
        "--vs", choices=("torch",), help="the same work in PyTorch and diffusers, in turn"
    )
    c.add_argument("--out", metavar="FILE.json", help="also write the result")
    c.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measures, and prints what was measured."""
    from alchemint_jax import media

    out = media.check_writable(args.out, [".json"]) if args.out else None
    config = args.config and args.config.partition(":")[0]
    check_outputs([("--out", out)], [("--config", config)])
    given = {name: getattr(args, name) for name in _OF_CONFIG if getattr(args, name) is not None}
    if args.config is None and (given or args.overrides):
        option = f"--{next(iter(given))}" if given else f"--config.{args.overrides[0]}"
        raise ConfigError(f"{option} changes a config; give --config FILE.py too")
    if args.vs:
        _look_for_torch()
    with contextlib.redirect_stdout(sys.stderr), fresh_compilations():
        spare_libtpu()
        result = _measured(args, given)
    text = json.dumps(result, indent=1)
    if out:
        media.write_bytes(out, (text + "\n").encode())
    if args.json:
        print(text)
    else:
        from alchemint_jax.bench.bench_text import as_text

        print(as_text(result))
    return 0


def _measured(args: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    from alchemint_jax.bench import runner, suite

    if args.config is None:
        cases = suite.default_cases(args.case)
    else:
        cases = suite.config_cases(args.config, args.case, args.overrides, **given)
    return runner.run(cases, args.repeats, _torch() if args.vs else None, _say)


def _look_for_torch() -> None:
    """Before anything is measured: is there what to compare with?"""
    missing = [name for name in ("torch", "diffusers") if importlib.util.find_spec(name) is None]
    if missing:
        raise AlchemintError(
            f"--vs torch: {' and '.join(missing)} cannot be imported here; "
            "pip install -e '.[parity]'"
        )
    # Both have their arrays on one GPU; left alone, JAX would take three quarters of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _torch() -> Any:
    """The other side."""
    import jax

    try:
        from alchemint_jax.bench import torch_side
    except (ImportError, OSError, RuntimeError) as error:  # diffusers raises all of them
        reason = str(error).strip().partition("\n")[0]
        raise AlchemintError(
            f"--vs torch: PyTorch or diffusers is there but cannot be imported ({reason}); "
            "pip install --force-reinstall -e '.[parity]'"
        ) from error
    return torch_side.counterpart(jax.default_backend())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
