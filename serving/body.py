"""Bodies of requests, refused as early as can be: by media type, by announced length, as they come in, as they grow."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from serving import problems
from serving.errors import CallerLeft, RequestInvalid
from serving.problems import InputProblem

JSON = "application/json"
NDJSON = "application/x-ndjson"
_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 1 << 16
LINGER_BYTES, LINGER_S = 8 << 20, 1.0
MOST_EXPANSION, EXPANDED_FREELY = 100, 1 << 20
"""A gzip body may unpack to so many times its size; reviews do to some ten times. Less than a MiB may be anything."""


MOST_DEPTH = 16
"""Arrays and objects within each other; what the contract asks for has two, BentoML's own route as many."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[{\]}]")


def check_depth(text: str) -> None:
    """Raises RequestInvalid for JSON that is nested too deeply: parsers go down with it, each in its own way."""
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MOST_DEPTH:
            raise RequestInvalid(f"the body is nested over {MOST_DEPTH} deep")


def check_media_type(request: Request, *allowed: str) -> None:
    """Raises InputProblem for a body of another kind."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() not in allowed:
        raise InputProblem(problems.MEDIA, f"Content-Type is {media_type[:60]!r}; it must be {' or '.join(allowed)}")
    name, _, charset = parameters.partition("=")
    if name.strip().lower() == "charset" and charset.strip().strip('"').lower() not in ("utf-8", "utf8"):
        raise InputProblem(problems.MEDIA, f"the charset is {charset[:60]!r}; it must be utf-8")


def pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes in, unpacked where it is gzip.

    Raises InputProblem at once where more than ``limit`` bytes are announced, else as soon as there are more.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    return _bounded(_unpacked(_coming(request)) if _is_gzip(request) else _coming(request), limit)


async def read(request: Request, limit: int) -> str:
    """The whole body. Raises InputProblem or RequestInvalid."""
    body = b"".join([piece async for piece in pieces(request, limit)])
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestInvalid(f"the body is not UTF-8 at byte {error.start}") from error


async def _coming(request: Request) -> AsyncIterator[bytes]:
    """Raises CallerLeft where the rest will not come."""
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect as error:
        raise CallerLeft("the caller hung up") from error


async def _bounded(stream: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in stream:
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        yield piece


def _is_gzip(request: Request) -> bool:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise InputProblem(problems.MEDIA, f"Content-Encoding is {coding[:60]!r}; it must be gzip or none")
    return coding != "identity"


async def _unpacked(packed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Small pieces, so that a bomb is given up long before it has burst, and others go on between them."""
    unpacker = zlib.decompressobj(_GZIP)
    given_bytes = unpacked_bytes = 0
    async for given in packed:
        waiting = given
        given_bytes += len(given)
        while waiting and not unpacker.eof:
            try:
                piece = unpacker.decompress(waiting, _PIECE)
            except zlib.error as error:
                raise InputProblem(
                    problems.NOT_GZIP, "the body is not gzip, though Content-Encoding says so"
                ) from error
            waiting = unpacker.unconsumed_tail
            unpacked_bytes += len(piece)
            if unpacked_bytes > max(EXPANDED_FREELY, MOST_EXPANSION * given_bytes):
                raise InputProblem(problems.TOO_LARGE, f"the body unpacks to over {MOST_EXPANSION} times its size")
            if piece:
                yield piece
                await asyncio.sleep(0)
    if not unpacker.eof:
        raise InputProblem(problems.NOT_GZIP, "the gzip body breaks off")


def _too_large(limit: int) -> InputProblem:
    return InputProblem(problems.TOO_LARGE, f"the body is over {limit:,} bytes")


class Coming:
    """The body as it comes in, and what to do with the rest of one that is refused.

    A server that answers and hangs up while the caller still sends is a broken pipe to the caller, and not an answer
    (RFC 9112, 9.6). So the rest is read and dropped, within bounds.
    """

    def __init__(self, receive: Receive) -> None:
        """``receive`` is ASGI's."""
        self._receive = receive
        self._more = True

    async def receive(self) -> Message:
        """See ASGI."""
        message = await self._receive()
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drop(self) -> None:
        """Read what is left, as long and as much as a sensible caller needs."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._more and dropped < LINGER_BYTES:
                    dropped += len((await self.receive()).get("body", b""))
