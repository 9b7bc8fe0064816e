"""Text to image: one prompt, the bytes of one picture."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeVar

from alchemint_jax.endpoints.client import Client
from alchemint_jax.endpoints.transport import Server

T = TypeVar("T")
_MOST = 64 * 2**20  # bytes of an answer


class PictureClient(Client):
    """Asks one server for pictures (POST images/generations).

    Pictures are taken from `b64_json` alone: an address that a server names is not looked at.

    Args:
        server: where it is, and how patient to be.
        size: of the pictures, as the server writes it.
        rest: see `Client`.

    Raises:
        ConfigError: see `Endpoint`.
    """

    # Some servers refuse what they do not know, and some what they always do.
    forms = (("response_format", "seed"), ("response_format",), ())

    def __init__(self, server: Server, size: str = "1024x1024", *rest: Any, **named: Any):
        super().__init__(server, *rest, **named)
        self._size = size

    def draw(self, prompt: str, seed: int, check: Callable[[bytes], T]) -> T:
        """What `check` makes of the picture.

        Args:
            prompt: what it is to show.
            seed: of its noise, where the server takes one.
            check: reads the bytes of a picture, or raises ValueError; then another one is drawn.

        Raises:
            EndpointError: no picture passed the check, in as many tries as there are.
        """
        return self.answer(
            [self._size, prompt, seed], lambda attempt: self._post(prompt, seed + attempt), check
        )

    def _post(self, prompt: str, seed: int) -> bytes:
        body = {"model": self._endpoint.model, "prompt": prompt, "n": 1, "size": self._size}
        extras: dict[str, Any] = {"response_format": "b64_json", "seed": seed}

        def post(names: tuple[str, ...]) -> Any:
            chosen = {name: extras[name] for name in names}
            return self._endpoint.request("images/generations", body | chosen, _MOST)

        answer = self.formed(post)
        try:
            text = answer["data"][0]["b64_json"]
        except (KeyError, IndexError, TypeError):
            raise ValueError("it holds no picture (b64_json)") from None
        if not isinstance(text, str):
            raise ValueError("its picture is no text")
        if text.startswith("data:"):
            text = text.partition(",")[2]
        return base64.b64decode(text, validate=True)
