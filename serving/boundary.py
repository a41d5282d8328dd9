"""The boundary of the service: a request's id on the way in; on the way out its status, its time and no exception."""

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Collection
from typing import TypeVar

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api import MODEL_TAG
from serving.problems import INTERNAL, LEFT, LOGGED, problem
from serving.telemetry.logs import FIELDS, REQUEST_ID, place
from serving.telemetry.metrics import Metrics

T = TypeVar("T")
log = logging.getLogger(__name__)
access = logging.getLogger("serving.access")

HEADER = "X-Request-ID"
OTHER = "other"
"""The route of a request that has none of ours."""
REQUEST_ID_PATTERN = r"^[A-Za-z0-9._-]{1,128}$"
_ACCEPTED = re.compile(REQUEST_ID_PATTERN.encode())
_NAME = HEADER.lower().encode()


async def _while_open(work: Awaitable[T]) -> T:
    """What ``work`` returns. Raises ClientDisconnect where the server has closed the connection already."""
    try:
        return await work
    except RuntimeError as error:
        raise ClientDisconnect from error


class RequestBoundary:
    """Gives each request an id, the caller's where it is sensible, and answers what nobody expected.

    The id is in the scope as ``request_id``, in logs and in the response's header. An unexpected exception ends here:
    the server would log its message, which may quote a review.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        routes: Collection[str],
        quiet: Collection[str] = (),
        *,
        logged: bool = True,
    ) -> None:
        """``routes`` are the paths that metrics may name; those of ``quiet`` are probes, neither counted nor logged."""
        self.app = app
        self._metrics = metrics
        self._routes, self._quiet = frozenset(routes), frozenset(quiet)
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pure ASGI: no task and no copy of the body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        sent = next((value for key, value in scope["headers"] if key == _NAME), b"")
        request_id = sent.decode() if _ACCEPTED.fullmatch(sent) else uuid.uuid4().hex
        scope["request_id"] = request_id
        token = REQUEST_ID.set(request_id)
        status = 0
        answered_by: str | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered_by
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")  # an answer holds the review
                answered_by = headers.get(MODEL_TAG)
            await _while_open(send(message))

        try:
            await self.app(scope, lambda: _while_open(receive()), send_with_id)
        except ClientDisconnect:
            status = status or LEFT.status
        except Exception as error:  # whatever it is, it ends here
            log.error("request %s failed: %s at %s", request_id, type(error).__name__, place(error))  # noqa: TRY400 - no trace
            if not status:
                response = problem(Request(scope), INTERNAL, LOGGED)
                await response(scope, receive, send_with_id)
        finally:
            self._finished(scope, status, time.perf_counter() - started, answered_by)
            REQUEST_ID.reset(token)

    def _finished(self, scope: Scope, status: int, seconds: float, answered_by: str | None) -> None:
        path = scope["path"]
        if path in self._quiet:
            return
        route = path if path in self._routes else OTHER
        self._metrics.request(route, status, seconds)
        if self._logged and access.isEnabledFor(logging.INFO):
            fields = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1e3, 2)}
            if answered_by is not None:
                fields["model_tag"] = answered_by
            access.info("answered", extra={FIELDS: fields})
