"""The process that renders: it loads the model once, and takes one job after the other.

It hears ("render", job, ask, folder) and ("cancel", job), and tells ("ready", about, identity),
("failed", why) and, of a job, ("step" | "preview" | "done" | "error" | "cancelled", job, what).
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from alchemint_jax.errors import AlchemintError
from alchemint_jax.studio.asking import Ask
from alchemint_jax.studio.jobs import RESULT

Tell = Callable[[str, Any], None]
"""Says how far a job is; raises `Cancelled` once nobody wants it any more."""

Draw = Callable[[Ask, Path, Tell], None]
"""Writes the files of a result into a folder."""


class Cancelled(Exception):
    """Nobody wants this job any more."""


@dataclass(frozen=True)
class Loaded:
    """A model that is ready.

    Attributes:
        draw: renders.
        about: what the server tells the page, and checks drafts with; it travels to its process.
        identity: of the model, for `sameness.key_of`.
    """

    draw: Draw
    about: Any
    identity: str


def start(connection: Connection, load: Callable[..., Loaded], *arguments: Any) -> None:
    """What the process does."""
    # An interruption is for the process that people see; it then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(connection, load, *arguments)


def serve(connection: Connection, load: Callable[..., Loaded], *arguments: Any) -> None:
    """Loads a model, and renders until nobody is there to ask."""
    try:
        try:
            loaded = load(*arguments)
        except (AlchemintError, OSError) as error:
            connection.send(("failed", str(error)))
            return
        connection.send(("ready", loaded.about, loaded.identity))
        while True:
            kind, job, *rest = connection.recv()
            if kind == "render":
                connection.send(_rendered(connection, loaded.draw, job, *rest))
    except (EOFError, OSError):  # the server is gone
        return


def _rendered(
    connection: Connection, draw: Draw, job: str, ask: Ask, folder: Path
) -> tuple[str, str, Any]:
    def tell(kind: str, what: Any) -> None:
        while connection.poll():
            if connection.recv() == ("cancel", job):
                raise Cancelled
        connection.send((kind, job, what))

    half = folder / f".{RESULT}.partial"
    for left in (half, folder / RESULT):  # of a render that was interrupted, or damaged since
        shutil.rmtree(left, ignore_errors=True)
    try:
        half.mkdir()
        draw(ask, half, tell)
        os.replace(half, folder / RESULT)
        return ("done", job, None)
    except Cancelled:
        return ("cancelled", job, None)
    except AlchemintError as error:
        return ("error", job, str(error))
    except MemoryError:
        return ("error", job, "there is not enough memory for this clip; make it smaller")
    except OSError as error:  # of its files; if the server is gone, telling it so says that
        return ("error", job, f"its files cannot be written: {error}")
    finally:
        shutil.rmtree(half, ignore_errors=True)
