"""What the server answers: JSON, and for whatever cannot be done a sentence that says why."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse

from alchemint_jax.errors import AlchemintError

MAX_JSON = 512 * 1024  # bytes of a request that is no upload
_ID = re.compile(r"[0-9a-f]{16}")


class Refused(AlchemintError):
    """A request that is not done as it was asked; `status` is that of the answer."""

    def __init__(self, sentence: str, status: int = 400):
        super().__init__(sentence)
        self.status = status


def failure(sentence: str, status: int) -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse({"error": sentence}, status)


async def body_of(request: Request, most: int) -> bytes:
    """The bytes of a request.

    Raises:
        Refused: there are more than `most`; the rest is not read.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(f"this is larger than {_megabytes(most)}, the most that is taken", 413)
        parts.append(part)
    return b"".join(parts)


def _megabytes(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 2**20 else f"{size >> 10} KiB"


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object that a request holds.

    Raises:
        Refused: it holds none.
    """

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number of JSON")

    raw = await body_of(request, MAX_JSON)
    try:
        value = json.loads(raw, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the request is not JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise Refused("the request must be a JSON object")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # which no file and no answer could hold
        raise Refused("the request holds half a character (a lone surrogate)") from None
    return value


def id_in(request: Request) -> str:
    """The id in the address of a request, which then is safe in a file name.

    Raises:
        Refused: it is none of ours.
    """
    name = request.path_params["id"]
    if not _ID.fullmatch(name):
        raise Refused("there is nothing of that name", 404)
    return str(name)
