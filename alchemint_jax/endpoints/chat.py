"""Chat completions: one question, one JSON answer."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from alchemint_jax.endpoints.client import Client


class ChatClient(Client):
    """Asks one server for JSON; see `Client`."""

    # One that does not know how to keep to a schema is asked in words.
    forms = ("json_schema", "json_object", "text")

    def ask(
        self,
        system: str,
        text: str,
        schema: Mapping[str, Any],
        check: Callable[[Any], Any],
        images: Sequence[np.ndarray] = (),
    ) -> Any:
        """What `check` makes of the answer.

        Args:
            system: what is to be done.
            text: what it is about: data, which the server is told not to obey.
            schema: JSON schema of the answer.
            check: reads the answer, or raises ValueError, whose message the server is then told.
            images: uint8 [h w 3] each.

        Raises:
            EndpointError: no answer passed the check, in as many tries as there are.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        content += [_image(image) for image in images]
        asked: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": content if images else text},
        ]
        messages = asked

        def unusable(error: ValueError) -> None:
            nonlocal messages
            again = f"That cannot be used: {error}. Answer with JSON of the schema alone."[:500]
            messages = [*asked, {"role": "user", "content": again}]

        def once(attempt: int) -> bytes:
            return self._post(messages, schema).encode(errors="replace")

        def read(said: bytes) -> Any:
            return check(_json(said.decode()))

        return self.answer([asked, dict(schema)], once, read, unusable)

    def _post(self, messages: Sequence[Any], schema: Mapping[str, Any]) -> str:
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": list(messages),
            "temperature": 0,
            "seed": 0,
        }
        strict = {"name": "answer", "strict": True, "schema": dict(schema)}
        formats: dict[str, dict[str, Any]] = {
            "json_schema": {"response_format": {"type": "json_schema", "json_schema": strict}},
            "json_object": {"response_format": {"type": "json_object"}},
            "text": {},
        }
        answer = self.formed(
            lambda kind: self._endpoint.request("chat/completions", body | formats[kind])
        )
        try:
            said = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise ValueError("it holds no message") from None
        if not isinstance(said, str):
            raise ValueError("its message is empty")
        return said


def _json(said: str) -> Any:
    """The value in an answer, also where it is fenced, or follows thoughts."""
    said = re.sub(r"<think>.*?</think>", "", said, flags=re.DOTALL)
    start, end = said.find("{"), said.rfind("}")
    if start < 0 or end < start:
        raise ValueError("there is no JSON object in it")
    try:
        return json.loads(said[start : end + 1])
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _image(image: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=85)
    text = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{text}"}}
