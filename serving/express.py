"""The short way to the busiest routes: past the layers that have nothing to do for them.

These routes read their bodies and answer by themselves; of FastAPI they need its documentation only. Two applications,
four middlewares and two routers in between cost as much processor time as all the rest of a cached answer.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import problems
from serving.api import Route
from serving.errors import ServingError

LINGER_BYTES, LINGER_S = 8 << 20, 1.0


class Express:
    """Answers POST requests for ``routes`` (by path); whatever else comes goes on to ``app``."""

    def __init__(self, app: ASGIApp, own: FastAPI, routes: Mapping[str, Route]) -> None:
        """``own`` is the application whose state the routes read."""
        self.app = app
        self._own = own
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pure ASGI; what nobody expected is left to ``serving.boundary``."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["app"] = self._own
        coming = _Coming(receive)
        request = Request(scope, coming.receive)
        try:
            response = await route(request)
        except ServingError as error:
            await coming.drop()
            response = problems.of(request, error)
        await response(scope, receive, send)


class _Coming:
    """The body as it comes in, and what to do with the rest of one that is refused.

    A server that answers and hangs up while the caller still sends is a broken pipe to the caller, and not an answer
    (RFC 9112, 9.6). So the rest is read and dropped, within bounds.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True

    async def receive(self) -> Message:
        """See ASGI."""
        message = await self._receive()
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drop(self) -> None:
        """Read what is left, as long and as much as a sensible caller needs."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._more and dropped < LINGER_BYTES:
                    dropped += len((await self.receive()).get("body", b""))
