"""The short way to the busiest routes: past the layers that have nothing to do for them.

These routes read their bodies and answer by themselves; of FastAPI they need its documentation only. Two applications,
four middlewares and two routers in between cost as much processor time as all the rest of a cached answer.
"""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api import Route
from serving.body import Coming
from serving.errors import ServingError
from serving.refusal import refuse


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
        coming = Coming(receive)
        request = Request(scope, coming.receive)
        try:
            response = await route(request)
        except ServingError as error:
            await refuse(error, self._own, scope, coming, send)
            return
        await response(scope, receive, send)
