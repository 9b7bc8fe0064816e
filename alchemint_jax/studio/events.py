"""What happens, told to every page that listens (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

MOST = 64  # pages at once
_HELD = 256  # events that a page may be behind
_HEARTBEAT = 15.0  # seconds


class Hub:
    """Lives in the loop of the server. A page that is too far behind is cut off; it comes again."""

    def __init__(self) -> None:
        self._listening: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no other page can listen."""
        return len(self._listening) >= MOST

    def tell(self, kind: str, what: Any) -> None:
        """Tells all pages of something."""
        text = f"event: {kind}\ndata: {json.dumps(what)}\n\n".encode()
        for queue in [*self._listening]:
            try:
                queue.put_nowait(text)
            except asyncio.QueueFull:
                self._listening.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)

    def close(self) -> None:
        """Lets all pages go."""
        self._closed = True
        for queue in self._listening:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)

    async def listen(self, first: Callable[[], Any]) -> AsyncIterator[bytes]:
        """The events from now on, after one that says how things stand.

        `first` is asked once nothing that happens later can be missed.
        """
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_HELD)
        self._listening.add(queue)
        try:
            yield f"event: state\ndata: {json.dumps(first())}\n\n".encode()
            while not self._closed:
                try:
                    text = await asyncio.wait_for(queue.get(), _HEARTBEAT)
                except TimeoutError:
                    text = b": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            self._listening.discard(queue)
