"""HTTP/1.1 with as little work as it takes: requests are bytes that lie ready, answers are looked at for their end."""

import asyncio
from collections.abc import Callable
from typing import cast

IDLE = -1
"""In place of a request's number, on a connection that waits for nothing."""
_END_OF_HEAD, _LAST_CHUNK = b"\r\n\r\n", b"0\r\n\r\n"


def parsed(data: bytes) -> tuple[int, bytes] | None:
    """Status and body of a whole response, or None while a part of it is missing."""
    end = data.find(_END_OF_HEAD)
    if end < 0:
        return None
    status, head, start = int(data[9:12]), data[:end].lower() + b"\r\n", end + 4
    found = head.find(b"\r\ncontent-length:")
    if found >= 0:
        stop = start + int(head[found + 17 : head.index(b"\r\n", found + 17)])
        return (status, data[start:stop]) if len(data) >= stop else None
    if b"\r\ntransfer-encoding: chunked" in head:
        return (status, _joined(data[start:])) if data.endswith(_LAST_CHUNK) else None
    return status, b""


def _joined(chunks: bytes) -> bytes:
    parts, place = [], 0
    while length := int(chunks[place : (line := chunks.index(b"\r\n", place))].partition(b";")[0], 16):
        parts.append(chunks[line + 2 : line + 2 + length])
        place = line + 4 + length
    return b"".join(parts)


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request under way at most."""

    def __init__(
        self, answered: Callable[["Connection", int, bytes], None], lost: Callable[["Connection"], None]
    ) -> None:
        """``answered`` gets status and body; ``lost`` is told when the server, or nobody any more, holds the line."""
        self.request, self.started = IDLE, 0.0
        self._answered, self._lost = answered, lost
        self._data = b""

    def send(self, request: int, started: float, data: bytes) -> None:
        """Ask; ``started`` is when the client meant to."""
        self.request, self.started = request, started
        self._transport.write(data)

    def close(self) -> None:
        """Hang up, whatever is under way."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._data:
            data = self._data + data
        answer = parsed(data)
        if answer is None:
            self._data = data
            return
        self._data = b""
        self._answered(self, *answer)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._lost(self)
