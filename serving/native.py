"""BentoML's own route, held to the bounds of ours: it reads whatever comes, for as long as it comes."""

import asyncio
from collections.abc import Collection

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import body
from serving.body import Coming
from serving.errors import DeadlineExceeded, ServingError
from serving.refusal import refuse
from serving.settings import Settings


class Bounded:
    """Reads the bodies of ``paths`` itself, within size and time, unpacked, and hands them on whole. Pure ASGI."""

    def __init__(self, app: ASGIApp, own: FastAPI, paths: Collection[str]) -> None:
        """``own`` is the application whose state knows the settings."""
        self.app = app
        self._own = own
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] not in self._paths or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        settings: Settings = self._own.state.settings
        coming = Coming(receive)
        try:
            content = await _read(Request(scope, coming.receive), settings)
        except ServingError as error:
            await refuse(error, self._own, scope, coming, send)
            return
        headers = MutableHeaders(scope=scope)
        headers["Content-Length"] = str(len(content))
        for described in ("Content-Encoding", "Transfer-Encoding"):
            del headers[described]
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": content, "more_body": False}

        await self.app(scope, whole, send)


async def _read(request: Request, settings: Settings) -> bytes:
    body.check_media_type(request, body.JSON)
    try:
        async with asyncio.timeout(settings.timeout_s):
            content = b"".join([piece async for piece in body.pieces(request, settings.max_body_bytes)])
    except TimeoutError as error:
        raise DeadlineExceeded(f"the body did not come within {settings.timeout_s} s") from error
    body.check_depth(content.decode("utf-8", "replace"))
    return content
