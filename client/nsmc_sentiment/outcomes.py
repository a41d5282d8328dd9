"""What comes of one attempt, and which error it is where the call ends with it. No I/O."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from nsmc_sentiment.calls import REQUEST_ID, Call
from nsmc_sentiment.errors import (
    ConnectionFailed,
    CorrectionNotKept,
    Overloaded,
    RequestRejected,
    SentimentError,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from nsmc_sentiment.retry import retry_after_s

T = TypeVar("T")
_RETRIED = frozenset({429, 502, 503, 504})
_JSON, _PROBLEM = "application/json", "application/problem+json"
_IDS = re.compile(r"[\x21-\x7e]{1,128}")
_PLACE = re.compile(r"texts\[([0-9]{1,9})\]")


@dataclass(frozen=True, slots=True)
class Answered:
    """The service, or something before it, answered; ``headers`` has names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """Without parameters; empty where none was said."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after_s(self) -> float | None:
        """How long the service asks to be left alone, in seconds."""
        return retry_after_s(self.headers.get("retry-after"), self.headers.get("date"), datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Broken:
    """There was no answer, or no complete one; ``error`` is what the call ends with if it ends here."""

    error: type[SentimentError]
    reason: str


Outcome = Answered | Broken


def settles(outcome: Outcome, call: Call[T]) -> bool:
    """Whether it looks like an answer to ``call``, which its reader may read."""
    return isinstance(outcome, Answered) and outcome.status in call.statuses and outcome.media_type == _JSON


def passing(outcome: Outcome) -> bool:
    """Whether another attempt may do better."""
    if isinstance(outcome, Broken):
        return outcome.error is ConnectionFailed
    return outcome.status in _RETRIED and _unavailable(outcome) is not CorrectionNotKept


def read(answer: Answered, call: Call[T]) -> T:
    """What ``answer`` says. Raises UnexpectedAnswer; what could not be read does not hang on to it."""
    request_id = _request_id(answer, {}, call)
    try:
        return call.read(json.loads(answer.body), request_id)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise UnexpectedAnswer(f"the answer cannot be read: {reason}", request_id=request_id)


def error_of(outcome: Outcome, call: Call[T], end: str = "") -> SentimentError:
    """The error that the call ends with; its message ends with ``end``."""
    if isinstance(outcome, Broken):
        return outcome.error(outcome.reason + end, request_id=call.request_id)
    problem, status = _problem(outcome), outcome.status
    kind, title, detail = (_text(problem, name) for name in ("type", "title", "detail"))
    request_id = _request_id(outcome, problem, call)
    said = f"the service answered {status}" + "".join(f": {part}" for part in (title, detail) if part)
    if status == 429 or status >= 500:
        return _unavailable(outcome)(
            said + end,
            request_id=request_id,
            status=status,
            type=kind or "about:blank",
            retry_after_s=outcome.retry_after_s,
        )
    if status >= 400 and problem:
        place = _text(problem, "field") or None
        return RequestRejected(
            said + (f" (in {place})" if place else ""),
            request_id=request_id,
            status=status,
            type=kind or "about:blank",
            title=title,
            detail=detail,
            field=place,
            index=_index(place, call),
        )
    media_type = outcome.media_type[:60]
    return UnexpectedAnswer(
        f"the answer has status {status} and media type {media_type!r}, which is not in the contract; "
        "is the base address the service's?",
        request_id=request_id,
    )


def _unavailable(answer: Answered) -> type[ServiceUnavailable]:
    """Which error a status of 429 or 5xx is."""
    kind = _text(_problem(answer), "type")
    if kind.endswith(":no-journal"):
        return CorrectionNotKept
    return Overloaded if answer.status == 429 or kind.endswith(":overloaded") else ServiceUnavailable


def _problem(answer: Answered) -> dict[str, Any]:
    """The problem that an answer holds (RFC 9457); empty where it holds none."""
    if answer.media_type != _PROBLEM:
        return {}
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _text(problem: Mapping[str, Any], name: str) -> str:
    value = problem.get(name)
    return value if isinstance(value, str) else ""


def _request_id(answer: Answered, problem: Mapping[str, Any], call: Call[T]) -> str:
    """The id that the service logged, where something on the way gave the request another than ours."""
    named = _text(problem, "request_id") or answer.headers.get(REQUEST_ID.lower(), "")
    return named if _IDS.fullmatch(named) else call.request_id


def _index(place: str | None, call: Call[T]) -> int | None:
    found = _PLACE.match(place or "")
    return call.first + int(found[1]) if found else None
