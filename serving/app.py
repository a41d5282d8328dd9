"""All routes in one FastAPI application, which BentoML mounts."""

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from serving import api, page, problems, routes_explain, routes_feedback, routes_rollout, stream
from serving.access.guard import Guard
from serving.api import PREFIX, VERSION
from serving.door import Door, Lag
from serving.settings import Settings

_ROUTERS = (
    api.router,
    stream.router,
    routes_explain.router,
    routes_feedback.router,
    routes_rollout.router,
    page.routes(),
)


PROBES = ("/livez", "/readyz", "/healthz", "/metrics")
OPEN = {*PROBES, *page.ASSETS, "/schema.json", f"{PREFIX}/health", f"{PREFIX}/openapi.json"}
"""What takes no key: it says whether the service works and how to talk to it, and nothing of reviews or models."""
COMMANDS = f"{routes_rollout.ROLLOUT}/"
"""How paths of the operators' commands begin."""


def guard(own: FastAPI) -> Middleware:
    """What asks for keys, in front of all routes; ``own`` is the application whose state knows them."""
    return Middleware(Guard, own=own, open=OPEN, feedback={routes_feedback.FEEDBACK}, admin=COMMANDS)


def door(own: FastAPI, lag: Lag) -> Middleware:
    """What turns away what the event loop cannot read, but for the operators' commands."""
    return Middleware(Door, own=own, lag=lag, spared=COMMANDS)


def cross_origin(settings: Settings) -> list[Middleware]:
    """What lets pages of other origins call, where there are any; a browser asks before it sends a key."""
    if not settings.cors_origins:
        return []
    headers = ["Authorization", "Content-Type", "Cache-Control", "X-Client-ID", "X-Request-ID"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=headers,
            expose_headers=["X-Request-ID", "X-Model-Tag", "Retry-After"],
            max_age=600,
        )
    ]


def paths() -> set[str]:
    """Of all routes."""
    return {route.path for router in _ROUTERS for route in router.routes if isinstance(route, Route)}


def create_app(settings: Settings) -> FastAPI:
    """The application. ``app.state.slots`` is None until the service has loaded its model."""
    app = FastAPI(
        title="Korean review sentiment",
        version=VERSION,
        description="Judges Korean movie reviews: 긍정, 부정 or 중립.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.slots = None
    app.state.operator = None
    app.state.journal = None
    app.state.access = None
    app.state.quota = None
    app.state.settings = settings
    for router in _ROUTERS:
        app.include_router(router)
    problems.install(app)
    return app
