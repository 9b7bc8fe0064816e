"""A server of the OpenAI protocol on this machine, which answers what a test tells it to."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Answer = tuple[Any, ...]
"""Status and body, and perhaps headers. A status of None hangs up, a body that is a function writes
for itself."""


def said(value: Any) -> Answer:
    """An answer of a chat."""
    text = value if isinstance(value, str) else json.dumps(value)
    return 200, json.dumps({"choices": [{"message": {"content": text}}]})


def drawn(data: bytes) -> Answer:
    """An answer with a picture."""
    return 200, json.dumps({"data": [{"b64_json": base64.b64encode(data).decode()}]})


def png(seed: int = 0, size: tuple[int, int] = (48, 40)) -> bytes:
    """A picture that shows something."""
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def serving(
    *answers: Answer, by: Callable[[dict[str, Any]], Answer] | None = None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server, and what it was asked.

    It gives one answer after the other, and the last one for ever; `by` answers by what was asked
    instead.
    """
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(200, json.dumps({"data": [{"id": "first"}, {"id": "second"}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            one = {**body, "headers": dict(self.headers), "path": self.path}
            asked.append(one)
            self._say(*(by(one) if by else left.pop(0) if len(left) > 1 else left[0]))

        def _say(self, status: Any, text: Any, headers: Any = None) -> None:
            if status is None:  # hangs up
                return
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # nobody listens any more
                if callable(text):
                    text(self.wfile)
                else:
                    self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
