"""Connections, bounded before there is a request: how many, how long a head may take, and how large it may be.

uvicorn's parser takes any head, waits for one for ever and holds any number of connections. What comes after the head
is bounded by ``serving.body`` and by deadlines.
"""

import asyncio
import json
import logging
import resource
import uuid
from itertools import chain
from typing import Any, ClassVar

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving import problems
from serving.body import LINGER_BYTES, LINGER_S
from serving.problems import Kind

log = logging.getLogger(__name__)

HEAD_BYTES = 32 << 10
"""Of the request line and all headers."""
HEAD_S = 10.0
"""From a connection's beginning, or from the first byte of a further request, until its head is whole."""
FILES = 256
"""File descriptors for everything that is no connection."""
LINGERING = FILES // 4
"""So many that were refused are heard out for a while: whoever still sends would lose the answer (RFC 9112, 9.6)."""


def bound(most: int) -> None:
    """Let uvicorn's servers of this process hold at most so many connections, or as many as it may open files."""
    BoundedProtocol.most = _affordable(most)
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"


def _affordable(most: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            most = max(1, soft - FILES)
            log.warning("this process may open %d files, so it holds %d connections; raise ulimit -n", soft, most)
    return most


class _HeadTooLarge(ValueError):
    """Ends the parsing."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, but a connection too many takes the place of one that is idle, or is refused."""

    most: ClassVar[int] = 1 << 20
    _lingering: ClassVar[set["BoundedProtocol"]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._head: int | None = 0
        """Bytes of a head that is not whole yet, but for those that came together with what was before it."""
        self._coming = 0
        self._too_large = False
        self._refusal: tuple[Kind, str] | None = None
        """That comes after the answers that are under way."""
        self._patience: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._out_of_patience)
        if len(self.connections) > self.most and not self._take_a_place():
            self._refuse(problems.OVERLOADED, f"{self.most} connections are held; no more fit")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._be_patient()
        self._lingering.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.transport.is_closing() or self._refusal is not None:
            return
        if self in self._lingering:
            self._coming += len(data)
            if self._coming > LINGER_BYTES:
                self.transport.close()
            return
        self._coming = len(data)
        super().data_received(data)
        if self._head is None or self in self._lingering:
            return
        self._head += len(data)
        if self._head > HEAD_BYTES:
            self._refuse_head()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEAD_S, self._out_of_patience)

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._head = -self._coming

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._head = None
        self._be_patient()
        self._too_large = len(self.url) + sum(map(len, chain.from_iterable(self.headers))) > HEAD_BYTES
        if self._too_large:
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """See uvicorn's."""
        super().on_response_complete()
        if self._refusal is not None and not self.transport.is_closing():
            self._refuse(*self._refusal)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn does with anything that the parser, or we within it, did not take."""
        if self._too_large:
            self._refuse_head()
        else:
            self._refuse(problems.NOT_HTTP, msg)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _take_a_place(self) -> bool:
        for other in self.connections:
            if other is not self and isinstance(other, BoundedProtocol) and other.idle:
                other.transport.close()
                self.connections.discard(other)  # now: others may come before it has closed
                return True
        return False

    def _refuse_head(self) -> None:
        self._refuse(problems.HEAD_TOO_LARGE, f"the request line and headers are over {HEAD_BYTES:,} bytes")

    def _out_of_patience(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            if self.headers is not None:
                self._refuse(problems.HEAD_TOO_SLOW, f"the headers were not there within {HEAD_S:.0f} s")
            else:
                self.transport.close()

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, kind: Kind, detail: str) -> None:
        """Say why, and close. What was asked before is answered first, unless this is about the rest of it."""
        if self.cycle is not None and not self.cycle.response_complete:
            if not self.cycle.more_body:
                self._be_patient()
                self._refusal = kind, detail
                return
            if self.cycle.response_started:
                self.transport.close()  # nobody can say anything in the middle of an answer
                return
        content = json.dumps(problems.described(kind, detail, uuid.uuid4().hex), ensure_ascii=False).encode()
        headers: dict[str, Any] = {
            "content-type": problems.MEDIA_TYPE,
            "content-length": len(content),
            **problems.headers_of(kind),
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[kind.status] + head.encode() + b"\r\n" + content)
        self._be_patient()
        self.connections.discard(self)
        if len(self._lingering) < LINGERING and self.transport.can_write_eof():
            self._lingering.add(self)
            self.transport.write_eof()
            self._patience = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()
