"""The boundary of a request: an id on the way in, and no exception on the way out."""

import logging
import re
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import INTERNAL, problem

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestBoundary:
    """Gives each request an id, the caller's where it is sensible, and answers what nobody expected.

    The id is in the scope as ``request_id`` and in the response's header. An unexpected exception ends here: the server
    would log its message, which may quote a review.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pure ASGI: no task and no copy of the body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = HEADER.lower().encode()
        sent = next((value for key, value in scope["headers"] if key == name), b"")
        request_id = sent.decode() if _ACCEPTED.fullmatch(sent) else uuid.uuid4().hex
        scope["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # whatever it is, it ends here
            log.error("request %s failed: %s at %s", request_id, type(error).__name__, _place(error))  # noqa: TRY400 - no trace
            if not started:
                response = problem(Request(scope), INTERNAL, "the error was logged under this request id")
                await response(scope, receive, send_with_id)


def without_message(record: logging.LogRecord) -> bool:
    """A logging filter that keeps of an exception its type and place; its message may quote a review."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__} at {_place(error)}", ()
        record.exc_info = record.exc_text = None
    return True


def _place(error: BaseException) -> str:
    """Module and line that raised, without the message."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame else "unknown"
