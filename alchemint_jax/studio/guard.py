"""Who may ask: this page on this machine, and nobody else.

A browser sends requests to this machine for any page that it shows. So the host that is asked for
must be ours (a name of somebody else's that points to this machine is not), and a page that asks
must come from here.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alchemint_jax.studio.answers import failure

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def hosts_of(port: int) -> frozenset[str]:
    """What the page may be called at a port."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))


def refusal(headers: Headers, hosts: Iterable[str]) -> str | None:
    """Why a request with these headers is refused; None if it is not."""
    if headers.get("host", "").lower() not in hosts:
        return "the studio answers to its own address alone, which the command printed"
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in {f"http://{host}" for host in hosts}:
        return "a page from elsewhere cannot use the studio"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "a page from elsewhere cannot use the studio"
    return None


class Guard:
    """Refuses what comes from elsewhere, and tells the browser to load nothing from elsewhere."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]):
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # nothing here speaks by web sockets: the server closes them

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        why = refusal(Headers(scope=scope), self._hosts)
        if why is not None:
            return await failure(why, 403)(scope, receive, answer)
        return await self._app(scope, receive, answer)
