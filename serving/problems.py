"""Errors as ``application/problem+json`` (RFC 9457): the one mapper from exceptions to HTTP.

A problem never holds a review's text, a stack trace or a path of the server.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.errors import EmptyText, InvalidText, TextTooLong
from serving.errors import DeadlineExceeded, ModelUnavailable, Overloaded, RequestInvalid, ServingError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:nsmc-sentiment:problem:"
RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """A stable kind of problem: its slug is the end of ``type``."""

    slug: str
    title: str
    status: int


NOT_JSON = Kind("not-json", "The body is not JSON", 400)
INVALID = Kind("invalid-request", "The request breaks the contract", 422)
TOO_LARGE = Kind("body-too-large", "The body is too large", 413)
MEDIA = Kind("unsupported-media-type", "The media type is not supported", 415)
EMPTY = Kind("empty-text", "There is nothing to judge", 422)
NOT_UNICODE = Kind("invalid-text", "The text is not valid Unicode", 422)
TOO_LONG = Kind("text-too-long", "The text is too long", 422)
OVERLOADED = Kind("overloaded", "The service has more work than it can do", 503)
NO_MODEL = Kind("no-model", "No model is loaded", 503)
DEADLINE = Kind("deadline-exceeded", "The answer would come too late", 504)
INTERNAL = Kind("internal-error", "Something went wrong here", 500)


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
)


class ProblemResponse(JSONResponse):
    """A JSON response of the problem media type, Korean not escaped."""

    media_type = MEDIA_TYPE

    def render(self, content: object) -> bytes:
        """UTF-8 JSON."""
        return json.dumps(content, ensure_ascii=False).encode()


def problem(
    request: Request, kind: Kind, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    """The response for one problem."""
    content = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "request_id": request.scope.get("request_id", ""),
    }
    if field is not None:
        content["field"] = field
    return ProblemResponse(content, kind.status, dict(headers or {}))


def kind_of(error: Exception) -> Kind:
    """The kind of an expected error; anything unknown is INTERNAL."""
    if isinstance(error, InputProblem):
        return error.kind
    return next((kind for expected, kind in _KINDS if isinstance(error, expected)), INTERNAL)


def install(app: FastAPI) -> None:
    """Let ``app`` answer every expected error with a problem; the others are ``serving.boundary``'s."""

    async def expected(request: Request, error: Exception) -> ProblemResponse:
        kind = kind_of(error)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if kind.status == 503 else None
        return problem(request, kind, str(error), getattr(error, "field", None), headers)

    async def http(request: Request, error: Exception) -> ProblemResponse:
        if not isinstance(error, HTTPException):
            raise error
        kind = Kind(f"http-{error.status_code}", error.detail, error.status_code)
        return problem(request, kind, error.detail, headers=error.headers)

    app.add_exception_handler(ServingError, expected)
    app.add_exception_handler(HTTPException, http)
