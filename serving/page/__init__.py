"""The pages for people: ``/`` for reviews, ``/rollout`` for the operator. Files that a browser runs as they are.

The pages talk to the REST routes like any other client, under a strict policy; nothing of them is made on the server.
"""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

PAGES = {"/": "page.html", "/rollout": "rollout.html"}
STYLES = ("page.css", "rollout.css")
MODULES = (
    "asking.js", "charts.js", "commands.js", "elements.js", "english.js", "files.js", "gates.js", "health.js",
    "history.js", "key.js", "korean.js", "language.js", "many.js", "one.js", "page.js", "rollout.js", "service.js",
    "slots.js", "tables.js", "verdicts.js", "watching.js", "workers.js",
)  # fmt: skip
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
ASSETS = {
    path: (name, f"{MEDIA_TYPES[PurePath(name).suffix]}; charset=utf-8")
    for path, name in (PAGES | {f"/page/{name}": name for name in (*STYLES, *MODULES)}).items()
}
"""File and media type by path; nothing else is served."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # asked again every time, and answered with 304 where nothing is new: a release shows at once
    "Cache-Control": "no-cache",
}

Endpoint = Callable[[Request], Awaitable[Response]]


def routes() -> APIRouter:
    """The routes of the pages; the files are read now, once."""
    router = APIRouter()
    for path, (name, media_type) in ASSETS.items():
        content = files(__name__).joinpath(name).read_bytes()
        router.add_route(path, _asset(content, media_type), methods=["GET"], include_in_schema=False)
    return router


def _asset(content: bytes, media_type: str) -> Endpoint:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = HEADERS | {"ETag": tag}

    async def endpoint(request: Request) -> Response:
        if _known(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return endpoint


def _known(condition: str, tag: str) -> bool:
    """Whether ``If-None-Match`` names ``tag``, compared weakly (RFC 9110, 13.1.2)."""
    return condition.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in condition.split(","))
