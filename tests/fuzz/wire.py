"""A small HTTP/1.1 client: bytes out, statuses in. It keeps nothing of an answer but its beginning."""

import asyncio
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self, cast

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_KEPT = 600


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    closing: bool
    beginning: bytes


class _Part(Enum):
    HEAD = auto()
    DATA = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    TRAILER = auto()
    UNTIL_END = auto()


class Reader:
    """Finds answers in what comes in, however it is cut."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._waiting = bytearray()
        self._part = _Part.HEAD
        self._left = 0
        self._status, self._closing, self._beginning = 0, False, bytearray()

    @property
    def midway(self) -> bool:
        """Whether an answer has begun and not ended."""
        return self._part is not _Part.HEAD or bool(self._waiting)

    def feed(self, data: bytes) -> None:
        """More bytes. Raises ValueError for what is no HTTP."""
        self._waiting += data
        while self._step():
            pass

    def ended(self) -> None:
        """No more bytes come."""
        if self._part is _Part.UNTIL_END:
            self._finish()

    def _step(self) -> bool:
        if self._part is _Part.HEAD:
            return self._head()
        if self._part in (_Part.DATA, _Part.CHUNK):
            return self._data()
        if self._part is _Part.UNTIL_END:
            self._keep(self._waiting)
            self._waiting.clear()
            return False
        return self._line()

    def _head(self) -> bool:
        end = self._waiting.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._waiting[: end + 2])
        del self._waiting[: end + 4]
        status = _STATUS.match(head)
        if status is None:
            raise ValueError(f"no status: {head[:80]!r}")
        self._status, self._closing = int(status[1]), _CLOSE.search(head) is not None
        if self._status < 200:
            return True
        length = _LENGTH.search(head)
        if self._status in (204, 304) or (length is not None and int(length[1]) == 0):
            self._finish()
        elif length is not None:
            self._part, self._left = _Part.DATA, int(length[1])
        elif _CHUNKED.search(head):
            self._part = _Part.CHUNK_SIZE
        else:
            self._part, self._closing = _Part.UNTIL_END, True
        return True

    def _data(self) -> bool:
        taken = self._waiting[: self._left]
        if not taken:
            return False
        self._keep(taken)
        del self._waiting[: len(taken)]
        self._left -= len(taken)
        if self._left == 0 and self._part is _Part.DATA:
            self._finish()
        elif self._left == 0:
            self._part, self._left = _Part.CHUNK_SIZE, -1
        return True

    def _line(self) -> bool:
        end = self._waiting.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 2]
        if self._part is _Part.TRAILER:
            if not line:
                self._finish()
        elif self._left < 0 and not line:  # the end of the chunk before
            self._left = 0
        else:
            self._left = int(line, 16)
            self._part = _Part.CHUNK if self._left else _Part.TRAILER
        return True

    def _keep(self, data: bytes | bytearray) -> None:
        if len(self._beginning) < _KEPT:
            self._beginning += data[:_KEPT]

    def _finish(self) -> None:
        self.answers.append(Answer(self._status, self._closing, bytes(self._beginning)))
        self._part, self._left, self._beginning = _Part.HEAD, 0, bytearray()


class Wire(asyncio.Protocol):
    """One connection. ``wait`` returns once there is an answer, or there can be none any more."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.closed = False
        self.asked: list[int] = []
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 1

    @classmethod
    async def opened(cls, host: str, port: int) -> Self:
        """A connection. Raises OSError."""
        _, wire = await asyncio.get_running_loop().create_connection(cls, host, port)
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            self.reader.feed(data)
        except ValueError:
            self.abort()
        if len(self.reader.answers) >= self._wanted:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.closed = True
        self.reader.ended()
        self._wake()

    def send(self, data: bytes) -> None:
        """Send now, or as soon as the other side takes it."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    async def wait(self, answers: int, limit_s: float) -> bool:
        """Wait for so many answers or the end of the connection; says whether either came in time."""
        self._wanted = answers
        if self.closed or len(self.reader.answers) >= answers:
            return True
        self._waiter = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(limit_s, self._wake)
        await self._waiter
        timer.cancel()
        return self.closed or len(self.reader.answers) >= answers

    def taken(self) -> Answer | None:
        """The first answer that was not taken yet."""
        return self.reader.answers.pop(0) if self.reader.answers else None

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        pending = self._transport.get_write_buffer_size() if self._transport is not None else 1
        return not self.closed and not pending and not self.reader.midway and not self.reader.answers

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
