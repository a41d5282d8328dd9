"""Lists of any length as NDJSON: a review a line in, a verdict a line out, while the rest is still on its way.

Lines are judged in groups, as many as have come in by then; a line that cannot be judged gets a problem of its own.
The answer ends with a line of totals: without it, it broke off.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, field_validator
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from data.errors import TextError
from serving import body, problems, schema
from serving.api import MODEL_TAG, PREFIX, counted, elapsed_ms, json_bytes, result_of, reuse_of, turn_of, valid
from serving.cache import Reuse
from serving.errors import CallerLeft, DeadlineExceeded, Overloaded, QuotaExceeded, RequestInvalid, ServingError
from serving.problems import InputProblem
from serving.slots import Turn

GROUP_LINES = 64
WAITING_GROUPS = 64
"""Read and not judged, at most: who sends faster than the model judges is read no faster than that."""
PAUSE_S = 0.05
"""While the queue is full, a stream waits; others are refused."""


class Line(schema.Request):
    """A line of a stream."""

    text: str
    id: str | int | None = Field(default=None, description="Comes back with the verdict.")

    @field_validator("id")
    @classmethod
    def _can_come_back(cls, value: str | int | None) -> str | int | None:
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError("it holds a lone surrogate; it must be valid Unicode")
        return value


@dataclass(frozen=True, slots=True)
class _Asked:
    """A line that was read: its review, or why there is none."""

    index: int
    line: Line | None
    error: ServingError | None = None


router = APIRouter(prefix=PREFIX, tags=["sentiment"])
_LINE = '{"text": "정말 최고의 영화였어요!", "id": "r-17"}\n{"text": "시간 낭비였습니다."}\n'
_ANSWER = (
    '{"index":0,"id":"r-17","sentiment":"긍정","score":0.9756,"cached":false}\n'
    '{"index":1,"sentiment":"부정","score":0.9234,"cached":true}\n'
    '{"total_count":2,"error_count":0,"model_tag":"koelectra-nsmc:7","processing_time_ms":12.3}\n'
)


@router.post(
    "/stream",
    response_class=Response,
    responses={
        200: {
            "description": "A line for each line, in order, then one of totals.",
            "content": {body.NDJSON: {"schema": {"type": "string"}, "example": _ANSWER}},
        },
        **problems.documented(400, 401, 403, 413, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {body.NDJSON: {"schema": {"type": "string"}, "example": _LINE}},
        }
    },
)
async def stream(
    request: Request,
    return_probabilities: Annotated[bool, Query()] = False,
    truncate: Annotated[bool, Query()] = False,
) -> Response:
    """Judge a list of any length, line by line."""
    body.check_media_type(request, body.NDJSON)
    service = turn_of(request)
    answers = _Stream(request, service, truncate=truncate, probabilities=return_probabilities)
    return Lines(answers.lines(), {MODEL_TAG: service.model.tag})


class Lines(Response):
    """An answer that is sent while the request still comes in.

    Starlette's own streaming response listens for the caller's leaving, and so takes the request's body away.
    """

    media_type = body.NDJSON

    def __init__(self, lines: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        del self.headers["Content-Length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Stream:
    def __init__(self, request: Request, service: Turn, *, truncate: bool, probabilities: bool) -> None:
        self._request = request
        self._settings = request.app.state.settings
        self._service = service
        self._truncate, self._probabilities = truncate, probabilities
        self._reuse: Reuse = reuse_of(request)
        self._pieces = body.pieces(request, self._settings.max_stream_bytes)
        self._more = self._gone = False
        self._groups: asyncio.Queue[list[_Asked] | ServingError | None] = asyncio.Queue(WAITING_GROUPS)

    async def lines(self) -> AsyncIterator[bytes]:
        """The answer."""
        started = time.perf_counter()
        count = errors = 0
        reader = asyncio.create_task(self._read())
        try:
            while (group := await self._groups.get()) is not None and not self._gone:
                if isinstance(group, ServingError):  # of the whole body: there is no going on
                    yield json_bytes({"error": problems.content(self._request, group)}) + b"\n"
                    return
                results = await self._judged(group)
                count += len(results)
                errors += sum("error" in result for result in results)
                yield b"".join(json_bytes(result) + b"\n" for result in results)
            if not self._gone:
                totals = {"total_count": count, "error_count": errors, "model_tag": self._service.model.tag}
                yield json_bytes(totals | {"processing_time_ms": elapsed_ms(started)}) + b"\n"
        finally:
            reader.cancel()

    async def _read(self) -> None:
        """Put groups into the queue, then None; or what ended the body before its end."""
        group: list[_Asked] = []
        index = 0
        try:
            async for line in self._split():
                group.append(self._asked(index, line))
                index += 1
                if len(group) == GROUP_LINES or (self._groups.empty() and not self._more):
                    await self._groups.put(group)
                    group = []
            if group:
                await self._groups.put(group)
            await self._groups.put(None)
            while (await self._request.receive())["type"] != "http.disconnect":
                pass
            self._gone = True
        except (ClientDisconnect, CallerLeft):
            self._gone = True
            await self._groups.put(None)
        except ServingError as error:
            if group:
                await self._groups.put(group)
            await self._groups.put(error)

    async def _split(self) -> AsyncIterator[bytes]:
        """Lines that are not blank. ``_more`` tells whether another one is here already."""
        rest, limit = b"", self._settings.max_body_bytes
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    piece = await anext(self._pieces, None)
            except TimeoutError as error:
                raise DeadlineExceeded(f"nothing came for {self._settings.timeout_s} s") from error
            *lines, rest = (rest + (piece or b"\n")).split(b"\n")
            lines = [line for line in lines if line.strip()]
            for place, line in enumerate([*lines, rest]):
                if len(line) > limit:
                    raise InputProblem(problems.TOO_LARGE, f"a line is over {limit:,} bytes")
                if place < len(lines):
                    self._more = place + 1 < len(lines)
                    yield line
            if piece is None:
                return

    def _asked(self, index: int, line: bytes) -> _Asked:
        try:
            return _Asked(index, valid(line.decode("utf-8"), Line))
        except UnicodeDecodeError as error:
            return _Asked(index, None, RequestInvalid(f"the line is not UTF-8 at byte {error.start}"))
        except RequestInvalid as error:
            return _Asked(index, None, error)

    async def _judged(self, group: Sequence[_Asked]) -> list[dict[str, Any]]:
        """A result for each line."""
        problem: dict[int, Exception] = {asked.index: asked.error for asked in group if asked.error is not None}
        results: dict[int, dict[str, Any]] = {}
        waiting = [asked for asked in group if asked.line is not None]
        deadline = time.monotonic() + self._settings.timeout_s
        paid = False
        while waiting:
            texts = [asked.line.text for asked in waiting if asked.line is not None]
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    if not paid:
                        await counted(self._request, len(texts))
                        paid = True
                    answers = await self._service.analyze(texts, truncate=self._truncate, reuse=self._reuse)
            except TextError as error:
                problem[waiting.pop(error.index).index] = InputProblem.of(error, "text")
                continue
            except TimeoutError:
                late = DeadlineExceeded(f"no answer within {self._settings.timeout_s} s")
                problem |= {asked.index: late for asked in waiting}
                break
            except (Overloaded, QuotaExceeded) as error:
                if time.monotonic() + PAUSE_S < deadline:
                    await asyncio.sleep(PAUSE_S)
                    continue
                problem |= {asked.index: error for asked in waiting}
                break
            for asked, answer in zip(waiting, answers, strict=True):
                results[asked.index] = result_of(answer, probabilities=self._probabilities)
            break
        return [self._result(asked, results, problem) for asked in group]

    def _result(
        self, asked: _Asked, results: dict[int, dict[str, Any]], problem: dict[int, Exception]
    ) -> dict[str, Any]:
        named: dict[str, Any] = {"index": asked.index}
        if asked.line is not None and asked.line.id is not None:
            named["id"] = asked.line.id
        if asked.index in problem:
            return named | {"error": problems.content(self._request, problem[asked.index])}
        return named | results[asked.index]
