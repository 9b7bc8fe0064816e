"""A client of servers that speak the OpenAI chat protocol: one question, one JSON answer.

Whatever the server does (it is slow, full, or answers nonsense) ends as a value or a `ChatError`.
The key is read from the environment ($OPENAI_API_KEY) and is in no message and no file.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from alchemint_jax.annotate.settings import Chat
from alchemint_jax.errors import AlchemintError

_LONGEST = 30.0  # seconds between two tries
_MOST = 4 * 2**20  # bytes of an answer
_KEY = "OPENAI_API_KEY"


class ChatError(AlchemintError):
    """A server gave no answer that can be used."""


class ChatClient:
    """Asks one server.

    Args:
        settings: where it is, and how patient to be.
        sleep: what waits between tries.
    """

    def __init__(self, settings: Chat, sleep: Callable[[float], None] = time.sleep):
        self._settings = settings
        self._sleep = sleep
        self._model: str | None = None if settings.model == "auto" else settings.model
        self._formats = ["json_schema", "json_object", "text"]

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
            ChatError: no answer passed the check, in as many tries as there are.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        content += [_image(image) for image in images]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": content if images else text},
        ]
        problem = "no try was made"
        for attempt in range(max(1, self._settings.tries)):
            try:
                said = self._post(messages, schema)
                return check(_json(said))
            except _Wait as wait:
                problem = str(wait)
                if attempt + 1 < self._settings.tries:
                    self._sleep(min(_LONGEST, wait.seconds or _backoff(attempt)))
            except ValueError as error:
                if isinstance(error, ChatError):
                    raise
                problem = f"the answer cannot be used: {error}"[:300]
                again = f"That cannot be used: {error}. Answer with JSON of the schema alone."[:500]
                messages = [*messages[:2], {"role": "user", "content": again}]
        raise ChatError(f"{self._settings.url}: {problem}")

    def _post(self, messages: Sequence[Any], schema: Mapping[str, Any]) -> str:
        body: dict[str, Any] = {
            "model": self._name(),
            "messages": list(messages),
            "temperature": 0,
            "seed": 0,
        }
        kind = self._formats[0]
        if kind == "json_schema":
            given = {"name": "answer", "strict": True, "schema": dict(schema)}
            body["response_format"] = {"type": kind, "json_schema": given}
        elif kind == "json_object":
            body["response_format"] = {"type": kind}
        try:
            answer = self._request("chat/completions", body)
        except _Refused:
            if len(self._formats) == 1:
                raise
            self._formats.pop(0)  # it does not know how to keep to a schema: asked in words
            return self._post(messages, schema)
        try:
            said = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise ValueError("it holds no message") from None
        if not isinstance(said, str):
            raise ValueError("its message is empty")
        return said

    def _name(self) -> str:
        if self._model is None:
            listed = self._request("models", None)
            try:
                self._model = str(listed["data"][0]["id"])
            except (KeyError, IndexError, TypeError):
                raise ChatError(f"{self._settings.url}: lists no models; name one") from None
        return self._model

    def _request(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(_KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self._settings.url.rstrip('/')}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=self._settings.timeout) as response:
                data = response.read(_MOST + 1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 429 or error.code >= 500:
                    raise _Wait(f"status {error.code}", _seconds(error.headers)) from None
                if error.code in (400, 422) and body is not None:
                    raise _Refused(f"{self._settings.url}: status {error.code}") from None
                raise ChatError(f"{self._settings.url}: status {error.code}") from None
        except (OSError, ValueError) as error:  # unreachable, too slow, cut off, no HTTP
            raise _Wait(f"no answer ({type(error).__name__})", None) from None
        except Exception as error:  # http.client has kinds of its own
            raise _Wait(f"no answer ({type(error).__name__})", None) from None
        if len(data) > _MOST:
            raise ValueError("it is longer than 4 MiB")
        return json.loads(data)


class _Wait(Exception):
    """It may answer later."""

    def __init__(self, problem: str, seconds: float | int | None):
        super().__init__(problem)
        self.seconds = seconds


class _Refused(ChatError):
    """It does not take the request as it is."""


def _seconds(headers: Any) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After")))
    except (TypeError, ValueError):
        return None


def _backoff(attempt: int) -> float:
    return float(2**attempt * (0.5 + random.random() / 2))  # so that many do not come back at once


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
