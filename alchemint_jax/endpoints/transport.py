"""One request to a server, within a time and a size, and how often it is made."""

from __future__ import annotations

import json
import os
import queue
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from alchemint_jax.errors import AlchemintError, ConfigError

T = TypeVar("T")
Real = float | int

_LONGEST = 30.0  # seconds between two tries
_KEY = "OPENAI_API_KEY"


class EndpointError(AlchemintError):
    """A server gave no answer that can be used."""


class Refused(EndpointError):
    """It does not take the request as it is."""


class Wait(Exception):
    """It may answer later."""

    def __init__(self, problem: str, seconds: Real | None = None):
        super().__init__(problem)
        self.seconds = seconds


@dataclass(frozen=True)
class Server:
    """A server that speaks the OpenAI protocol; its key is read from $OPENAI_API_KEY.

    Attributes:
        url: such as http://localhost:8000/v1; empty is none.
        model: its name; "auto" is the first one that the server lists.
        timeout: seconds for one answer.
        tries: requests for one answer, in all.
    """

    url: str = ""
    model: str = "auto"
    timeout: Real = 120.0
    tries: int = 4


class Fuse:
    """Gives a server up that failed too often in a row: a long run cannot wait for it each time.

    Args:
        most: failures in a row, after which it is asked no more.
    """

    def __init__(self, most: int = 5):
        self._most = most
        self._failed = 0

    def __call__(self, ask: Callable[[], T]) -> T:
        """What `ask` returns. Raises what it raises, or an EndpointError without asking."""
        if self._failed >= self._most:
            raise EndpointError(f"it failed {self._most} times in a row, and is asked no more")
        try:
            found = ask()
        except EndpointError:
            self._failed += 1
            raise
        self._failed = 0
        return found


class Endpoint:
    """Requests to one server.

    Args:
        server: where it is, and how patient to be.
        sleep: what waits between tries.

    Raises:
        ConfigError: its address is none of http or https.
    """

    def __init__(self, server: Server, sleep: Callable[[float], None] = time.sleep):
        parts = urllib.parse.urlsplit(server.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{server.url!r}: write http://HOST:PORT/v1, or https://...")
        if "@" in parts.netloc:
            raise ConfigError(
                f"{parts.scheme}://{parts.hostname}: a password in an address would be written "
                f"into messages; put the key into ${_KEY}"
            )
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._server = server
        self._sleep = sleep
        self._model: str | None = None if server.model == "auto" else server.model
        self._naming = threading.Lock()

    @property
    def model(self) -> str:
        """The model that is asked: the first of the list where none was named."""
        with self._naming:
            if self._model is None:
                listed = self.request("models", None)
                try:
                    self._model = str(listed["data"][0]["id"])
                except (KeyError, IndexError, TypeError):
                    raise EndpointError(f"{self.url}: lists no models; name one") from None
            return self._model

    def persist(self, ask: Callable[[int], T], unusable: Callable[[ValueError], None]) -> T:
        """What `ask` returns, asked until it does, as often as the server is to be asked.

        Args:
            ask: is given the number of the try; it raises ValueError for an answer that cannot be
                used, and what `request` raises.
            unusable: is told of such an answer before the next try.

        Raises:
            EndpointError: no try succeeded, or none would.
        """
        problem = "no try was made"
        tries = max(1, self._server.tries)
        for attempt in range(tries):
            try:
                return ask(attempt)
            except Wait as wait:
                problem = str(wait)
                if attempt + 1 < tries:
                    self._sleep(min(_LONGEST, wait.seconds or _backoff(attempt)))
            except EndpointError:
                raise
            except ValueError as error:
                problem = f"the answer cannot be used: {error}"[:300]
                unusable(error)
        raise EndpointError(f"{self.url}: {problem}")

    def request(self, path: str, body: Any, most: int = 4 * 2**20) -> Any:
        """The JSON that the server answers with.

        Args:
            path: below the address of the server.
            body: what is posted, as JSON; None gets instead.
            most: bytes of an answer.

        Raises:
            Wait: it is full or broken at the moment, cannot be reached, or took too long.
            Refused: it does not take such a request.
            EndpointError: it does not answer at all, whoever asks.
            ValueError: what it says is no JSON, or too long.
        """
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(_KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        data = _in_time(self._server.timeout, lambda: self._read(request, most))
        if len(data) > most:
            raise ValueError(f"it is longer than {most >> 20} MiB")
        try:
            return json.loads(data)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None

    def _read(self, request: urllib.request.Request, most: int) -> bytes:
        # What is said names no text of the server: it could repeat the key.
        try:
            with _OPENER.open(request, timeout=self._server.timeout) as response:
                return bytes(response.read(most + 1))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 429 or error.code >= 500:
                    raise Wait(f"status {error.code}", _seconds(error.headers)) from None
                if error.code in (400, 422) and request.data is not None:
                    raise Refused(f"{self.url}: status {error.code}") from None
                raise EndpointError(f"{self.url}: status {error.code}") from None
        except Exception as error:  # unreachable, cut off, no HTTP: http.client has its own kinds
            raise Wait(f"no answer ({type(error).__name__})") from None


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirection would take the key elsewhere; it is an answer like any other status."""

    def redirect_request(self, *request: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


def _in_time(seconds: Real, ask: Callable[[], T]) -> T:
    """What `ask` returns or raises, if it takes no longer; `Wait` otherwise.

    The timeout of a socket starts over with every byte: one that drips would be waited for without
    an end.
    """
    said: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            said.put((True, ask()))
        except BaseException as error:
            said.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        good, value = said.get(timeout=seconds)
    except queue.Empty:
        raise Wait("no answer in time") from None
    if not good:
        raise value
    return value  # type: ignore[no-any-return]


def _seconds(headers: Any) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After")))
    except (TypeError, ValueError):
        return None


def _backoff(attempt: int) -> float:
    return float(2**attempt * (0.5 + random.random() / 2))  # so that many do not come back at once
