"""The server: one process for the page, and one that renders."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from alchemint_jax.studio.app import Studio, create_app
from alchemint_jax.studio.engine import Launch, launcher
from alchemint_jax.studio.guard import hosts_of
from alchemint_jax.studio.workspace import opened

_PATIENCE = 3  # seconds for answers to end


def serve(
    folder: Path,
    model: str,
    listener: socket.socket,
    ready: Callable[[], None],
    launch: Launch | None = None,
) -> str:
    """Serves a workspace until the process is interrupted.

    Args:
        folder: the workspace.
        model: by name or folder.
        listener: a socket that is bound to an address of this machine alone.
        ready: called when the page can be opened.
        launch: starts the worker; by default a process that loads the model.

    Returns:
        Why the model could not be loaded, a sentence; empty if it could.

    Raises:
        AlchemintError: the workspace cannot be used.
    """
    with opened(folder) as workspace:
        server: _Server | None = None

        def give_up() -> None:
            assert server is not None
            server.should_exit = True

        if launch is None:
            from alchemint_jax.studio.rendering import load  # JAX, which the page need not wait for

            launch = launcher(load, model, workspace.pictures)
        studio = Studio(workspace, model, launch, give_up)
        app = create_app(studio, hosts_of(listener.getsockname()[1]))
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE,
        )
        server = _Server(config, studio, ready)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn tells it on once all is ended
            server.run([listener])
        return studio.engine.failed


class _Server(uvicorn.Server):
    """Lets pages that listen go when it is to end: it would wait for them otherwise."""

    def __init__(self, config: uvicorn.Config, studio: Studio, ready: Callable[[], None]):
        super().__init__(config)
        self._studio, self._ready = studio, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._studio.hub.close()
        super().handle_exit(sig, frame)
