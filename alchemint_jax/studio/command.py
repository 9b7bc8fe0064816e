"""`alchemint studio`: opens the page, and serves it until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import socket
import sys
import webbrowser
from pathlib import Path
from typing import Any

import platformdirs

from alchemint_jax import arguments, media
from alchemint_jax.commands import shared
from alchemint_jax.errors import AlchemintError, ConfigError, WeightsError
from alchemint_jax.outputs import check_outputs

PORT = 8765
_NEEDED = ("starlette", "uvicorn")
_FREE = 0  # the system chooses a port


def add_parser(commands: Any) -> None:
    """Adds the command to `commands`, the subparsers of the command line."""
    about = "draw storyboards on a page, render them, and see what was measured"
    c = commands.add_parser("studio", help=about, description=about[0].upper() + about[1:] + ".")
    c.set_defaults(command=run, parser=c)
    c.add_argument("--model", default="sprites", help="'sprites' (bundled, default) or a folder")
    c.add_argument(
        "--workspace",
        metavar="DIR",
        help="where boards, pictures and renders are kept (default: a folder of the user's)",
    )
    c.add_argument(
        "--port",
        type=arguments.whole(_FREE, 65535),
        metavar="N",
        help=f"default: {PORT}, or a free one where that is taken; 0: a free one",
    )
    c.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the studio needs {' and '.join(missing)}; pip install 'alchemint-jax[studio]'"
        )
    model = shared.model_name("--model", args.model)
    folder = media.check_folder(args.workspace or _home())
    check_outputs([("--workspace", folder)], shared.model_parts(model))
    from alchemint_jax.studio.serving import serve

    with contextlib.closing(_listen(args.port)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        def ready() -> None:
            print(f"{address}\nworkspace: {folder}", flush=True)
            print("alchemint: Ctrl-C ends the studio; all is kept", file=sys.stderr)
            if not args.no_browser:
                webbrowser.open(address)

        failed = serve(folder, model, listener, ready)
    if failed:
        raise WeightsError(failed)
    return 0


def _home() -> Path:
    """The user's folder for what they make here."""
    root = platformdirs.user_data_path("alchemint_jax", appauthor=False)
    if root.is_absolute():
        return root / "studio"
    raise ConfigError("there is no home directory to keep boards in; give --workspace DIR")


def _listen(port: int | None) -> socket.socket:
    """A socket that this machine alone can reach."""
    for number in (PORT, _FREE) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise AlchemintError(f"--port {number}: {error.strerror}") from error
            continue
        return listener
    raise AlchemintError(f"--port {port}: something else listens there; give another one, or 0")
