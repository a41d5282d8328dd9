"""A request that is refused before any route sees it."""

from fastapi import FastAPI, Request
from starlette.types import Scope, Send

from serving import problems
from serving.body import Coming
from serving.errors import ServingError


async def refuse(error: ServingError, own: FastAPI, scope: Scope, coming: Coming, send: Send) -> None:
    """Hear the caller out, and answer with the problem that ``error`` is; ``own`` is the application of the routes."""
    scope["app"] = own
    await coming.drop()
    await problems.of(Request(scope), error)(scope, coming.receive, send)
