"""ASGI middleware for servers on loopback: programs of this machine and the server's own pages are answered, no others.

A browser lets any page of the web send requests to 127.0.0.1. Three headers that no page can forge say where a request
comes from: `Host` (a foreign name that was made to resolve to 127.0.0.1 is DNS rebinding), `Origin`, and
`Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/). Programs send `Host` alone.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

# Any port: behind `ssh -L 9000:localhost:4200` the browser's is not the server's.
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class SameOrigin:
    """Refuse requests of other hosts and origins with status 403 before `app` sees them; WebSockets too."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        why = refusal(scope.get("method", ""), scope["headers"]) if scope["type"] in ("http", "websocket") else ""
        if not why:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
        else:
            text = (b"content-type", b"text/plain; charset=utf-8")
            await send({"type": "http.response.start", "status": 403, "headers": [text]})
            await send({"type": "http.response.body", "body": f"refused: {why}\n".encode()})


def refusal(method: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Why a request is refused; empty when it is answered."""
    hosts, origins = _values(headers, b"host"), _values(headers, b"origin")
    if len(hosts) != 1 or not LOOPBACK.fullmatch(hosts[0]):
        return f"the host {', '.join(hosts)!r} is not this machine; use 127.0.0.1 or localhost"
    if origins and origins not in ([f"http://{hosts[0]}"], [f"https://{hosts[0]}"]):
        return f"the request comes from a page of {', '.join(origins)!r}, and only this server's own pages are answered"
    if "cross-site" in _values(headers, b"sec-fetch-site") and not _follows_link(method, headers):
        return "the request comes from a page of another site, and only this server's own pages are answered"
    return ""


def _follows_link(method: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Does somebody open a page by a link on another one? Nothing of it reaches the page with the link."""
    return method == "GET" and _values(headers, b"sec-fetch-dest") == ["document"]


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]
