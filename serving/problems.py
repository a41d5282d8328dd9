"""Errors as ``application/problem+json`` (RFC 9457): the one mapper from exceptions to HTTP.

A problem never holds a review's text, a stack trace or a path of the server.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.errors import EmptyText, InvalidText, TextTooLong
from serving import schema
from serving.errors import (
    CallerLeft,
    DeadlineExceeded,
    JournalFailed,
    KeysUnreachable,
    ModelUnavailable,
    NotAllowed,
    Overloaded,
    QuotaExceeded,
    RequestInvalid,
    RolloutRefused,
    RolloutUnreachable,
    ScopeMissing,
    ServingError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:nsmc-sentiment:problem:"
RETRY_AFTER_S = 1
LOGGED = "the error was logged under this request id"
_RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "integer"}}


@dataclass(frozen=True, slots=True)
class Kind:
    """A stable kind of problem: its slug is the end of ``type``; ``example`` is a detail, about ``field``."""

    slug: str
    title: str
    status: int
    example: str = ""
    field: str | None = None


NOT_HTTP = Kind("not-http", "The request is not HTTP", 400, "Invalid HTTP request received.")
HEAD_TOO_SLOW = Kind("head-too-slow", "The headers took too long", 408, "the headers were not there within 10 s")
HEAD_TOO_LARGE = Kind(
    "head-too-large", "The headers are too large", 431, "the request line and headers are over 32,768 bytes"
)
NOT_JSON = Kind("not-json", "The body is not JSON", 400, "the body cannot be parsed as JSON at character 17")
NOT_GZIP = Kind("not-gzip", "The body cannot be unpacked", 400, "the gzip body breaks off")
INVALID = Kind("invalid-request", "The request breaks the contract", 422, "text: Field required", "text")
TOO_LARGE = Kind("body-too-large", "The body is too large", 413, "the body is over 1,048,576 bytes")
MEDIA = Kind(
    "unsupported-media-type",
    "The media type is not supported",
    415,
    "Content-Type is 'text/plain'; it must be application/json",
)
EMPTY = Kind(
    "empty-text",
    "There is nothing to judge",
    422,
    "text is empty after cleaning; it must hold at least one visible character",
    "text",
)
NOT_UNICODE = Kind("invalid-text", "The text is not valid Unicode", 422, "the text holds a lone surrogate", "text")
TOO_LONG = Kind(
    "text-too-long", "The text is too long", 422, "text is 730 tokens long; at most 512 are allowed", "texts[3]"
)
QUOTA = Kind(
    "quota-exceeded",
    "The caller's quota is used up",
    429,
    "32 would be over the quota of 1000 reviews in 60 s; 8 are left",
)
OVERLOADED = Kind("overloaded", "The service has more work than it can do", 503, "the queue is full")
NO_MODEL = Kind("no-model", "No model is loaded", 503, "no model is loaded yet")
NOT_ALLOWED = Kind(
    "not-allowed",
    "A key is needed",
    401,
    "the Authorization header is missing; it must hold a key as a bearer token",
)
SCOPE = Kind(
    "scope-missing", "The key is for something else", 403, "key 3f2a9c1d5e6b is for predict; this needs feedback"
)
REFUSED = Kind(
    "rollout-refused", "The rollout does not allow it", 409, "nothing is staged, so there is nothing to promote"
)
UNREACHABLE = Kind("rollout-unreachable", "The rollout's state cannot be reached", 503, "Redis cannot be reached")
NO_JOURNAL = Kind(
    "no-journal", "Corrections cannot be kept", 503, "this service takes no corrections: JOURNAL_FOLDER is not set"
)
NO_KEYS = Kind("keys-unreachable", "Keys cannot be checked", 503, "keys cannot be checked now")
LEFT = Kind("caller-left", "The caller hung up", 499)
DEADLINE = Kind("deadline-exceeded", "The answer would come too late", 504, "no answer within 10.0 s")
INTERNAL = Kind("internal-error", "Something went wrong here", 500)
KINDS = (
    NOT_HTTP, HEAD_TOO_SLOW, HEAD_TOO_LARGE, NOT_JSON, NOT_GZIP, INVALID, TOO_LARGE, MEDIA, EMPTY, NOT_UNICODE,
    TOO_LONG, OVERLOADED, NO_MODEL, NOT_ALLOWED, SCOPE, QUOTA, REFUSED, UNREACHABLE, NO_JOURNAL, NO_KEYS, LEFT,
    DEADLINE, INTERNAL,
)  # fmt: skip


class InputProblem(RequestInvalid):
    """A request that breaks the contract in a way that has a kind of its own."""

    def __init__(self, kind: Kind, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.kind = kind

    @classmethod
    def of(cls, error: Exception, field: str) -> Self:
        """``error``, which is about ``field``."""
        return cls(kind_of(error), str(error), field)


_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (EmptyText, EMPTY),
    (TextTooLong, TOO_LONG),
    (InvalidText, NOT_UNICODE),
    (RequestInvalid, INVALID),
    (Overloaded, OVERLOADED),
    (ModelUnavailable, NO_MODEL),
    (DeadlineExceeded, DEADLINE),
    (JournalFailed, NO_JOURNAL),
    (CallerLeft, LEFT),
    (NotAllowed, NOT_ALLOWED),
    (KeysUnreachable, NO_KEYS),
    (ScopeMissing, SCOPE),
    (QuotaExceeded, QUOTA),
    (RolloutRefused, REFUSED),
    (RolloutUnreachable, UNREACHABLE),
)


class ProblemResponse(JSONResponse):
    """A JSON response of the problem media type, Korean not escaped."""

    media_type = MEDIA_TYPE

    def render(self, content: object) -> bytes:
        """UTF-8 JSON."""
        return json.dumps(content, ensure_ascii=False).encode()


def headers_of(kind: Kind) -> dict[str, str]:
    """What an answer of that kind is sent with, beside what it is about."""
    if kind is NO_JOURNAL:
        return {}  # it will not be otherwise in a second
    return {503: {"Retry-After": str(RETRY_AFTER_S)}, 401: {"WWW-Authenticate": "Bearer"}}.get(kind.status, {})


def problem(
    request: Request, kind: Kind, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    """The response for one problem."""
    content = described(kind, detail, request.scope.get("request_id", ""), field)
    return ProblemResponse(content, kind.status, dict(headers or {}))


def of(request: Request, error: Exception) -> ProblemResponse:
    """The response for an expected error."""
    kind = kind_of(error)
    headers = headers_of(kind)
    if isinstance(error, QuotaExceeded):
        headers = {"Retry-After": str(error.retry_after_s), **error.headers}
    return problem(request, kind, str(error), getattr(error, "field", None), headers)


def content(request: Request, error: Exception) -> dict[str, Any]:
    """The problem that ``error`` amounts to, as JSON."""
    request_id = request.scope.get("request_id", "")
    return described(kind_of(error), str(error), request_id, getattr(error, "field", None))


def described(kind: Kind, detail: str, request_id: str, field: str | None = None) -> dict[str, Any]:
    """The problem as JSON."""
    content = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "request_id": request_id,
    }
    return content if field is None else content | {"field": field}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the problems that a route may answer with: each kind, with an example."""
    return {
        status: {
            "description": "; ".join(kind.title for kind in KINDS if kind.status == status),
            "content": {
                MEDIA_TYPE: {
                    "schema": schema.Problem.model_json_schema(),
                    "examples": {
                        kind.slug: {"value": described(kind, kind.example, "0f8fad5bd9cb469fa165", kind.field)}
                        for kind in KINDS
                        if kind.status == status
                    },
                }
            },
            **({"headers": {"Retry-After": _RETRY_AFTER}} if status in (429, 503) else {}),
        }
        for status in statuses
    }


def kind_of(error: Exception) -> Kind:
    """The kind of an expected error; anything unknown is INTERNAL."""
    if isinstance(error, InputProblem):
        return error.kind
    return next((kind for expected, kind in _KINDS if isinstance(error, expected)), INTERNAL)


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error with a problem; ``serving.boundary`` logs those that nobody expected."""

    async def expected(request: Request, error: Exception) -> ProblemResponse:
        return of(request, error)

    async def http(request: Request, error: Exception) -> ProblemResponse:
        if not isinstance(error, HTTPException):
            raise error
        kind = Kind(f"http-{error.status_code}", error.detail, error.status_code)
        return problem(request, kind, error.detail, headers=error.headers)

    async def parameters(request: Request, error: Exception) -> ProblemResponse:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("",), "msg": ""}
        field = str(first["loc"][-1])
        return problem(request, INVALID, f"{field}: {first['msg']}", field)

    async def unexpected(request: Request, _error: Exception) -> ProblemResponse:
        return problem(request, INTERNAL, LOGGED)

    app.add_exception_handler(ServingError, expected)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(Exception, unexpected)
    app.add_exception_handler(HTTPException, http)
