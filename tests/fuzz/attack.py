"""Sends the requests of a run over many connections, and notes what should not have come back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from serving.body import LINGER_BYTES
from tests.fuzz.bodies import case
from tests.fuzz.canary import Canary
from tests.fuzz.cases import Case
from tests.fuzz.wire import Answer, Wire

HANG_S = 15.0
"""After so long without an answer a request hangs; the service gives up after TIMEOUT_S, which is far less."""
LEAVE_S, SECOND_ANSWER_S = 0.03, 0.05
EXPECTED_5XX = {501, 503, 504}
"""Documented, and 501: a method or coding that the server does not know."""
NONE, CLOSED, LEFT = "no answer", "closed", "left"
_NO_ERRORS = 100
"""Findings of one kind and route that are kept; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be; ``index`` makes the request again."""

    kind: str
    route: str
    index: int
    mutators: tuple[str, ...]
    detail: str


@dataclass(slots=True)
class Outcome:
    """What came back."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    sent: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    slowest: int = -1

    def note(self, asked: Case, status: str, kind: str | None = None, detail: str = "") -> None:
        """Count an answer; ``kind`` says what is wrong with it."""
        self.statuses[asked.route, status] += 1
        if kind is not None:
            self.found[kind, asked.route] += 1
            if self.found[kind, asked.route] <= _NO_ERRORS:
                self.findings.append(Finding(kind, asked.route, asked.index, asked.mutators, detail))


class Attack:
    """The requests ``first`` to ``first + count`` of a seed, against one service."""

    def __init__(self, port: int, seed: int, *, first: int = 0, count: int, connections: int) -> None:
        self.outcome = Outcome()
        self._port, self._seed, self._connections = port, seed, connections
        self._canary = Canary(seed)
        self._indices = iter(range(first, first + count))

    async def run(self, progress: Callable[[Outcome], None] | None = None) -> Outcome:
        """Send them all."""
        began = time.perf_counter()
        showing = asyncio.create_task(self._show(progress)) if progress is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._connections):
                    group.create_task(self._worker(self._indices))
        finally:
            if showing is not None:
                showing.cancel()
        self.outcome.seconds = time.perf_counter() - began
        return self.outcome

    async def _show(self, progress: Callable[[Outcome], None]) -> None:
        while True:
            await asyncio.sleep(1.0)
            progress(self.outcome)

    async def _worker(self, indices: Iterator[int]) -> None:
        wire: Wire | None = None
        for index in indices:
            asked = case(self._seed, index, self._canary)
            began = time.perf_counter()
            if asked.fresh:
                await self._raw(asked)
            else:
                wire = await self._kept(wire, asked)
            self._counted(asked, time.perf_counter() - began)
        if wire is not None:
            wire.abort()

    def _counted(self, asked: Case, seconds: float) -> None:
        outcome = self.outcome
        outcome.sent += 1
        outcome.sent_bytes += len(asked.data)
        if seconds > outcome.slowest_s and not asked.patient:
            outcome.slowest_s, outcome.slowest = seconds, asked.index

    async def _kept(self, wire: Wire | None, asked: Case) -> Wire | None:
        """A request over a connection that was used before, if there is one; returns it where it can be used again."""
        for attempt in range(3):
            used = wire is not None and wire.reusable
            if wire is None or not used:
                wire = await self._opened(asked)
                if wire is None:
                    return None
            wire.send(asked.data)
            if not await wire.wait(1, HANG_S):
                detail = f"no answer after {HANG_S:.0f} s; on this connection, just before: {wire.asked[-3:]}"
                self.outcome.note(asked, NONE, "hang", detail)
                wire.abort()
                return None
            if (answer := wire.taken()) is not None:
                self._judge(asked, answer)
                wire.asked.append(asked.index)
                if answer.closing or not wire.reusable:
                    wire.abort()
                    return None
                return wire
            if wire.reader.midway or not used or attempt == 2:  # else it was closed while it was idle
                self._broken(asked, wire)
                return None
            wire = None
        return None

    async def _raw(self, asked: Case) -> None:
        """A request over a connection of its own, whatever becomes of it."""
        wire = await self._opened(asked)
        if wire is None:
            return
        try:
            wire.send(asked.data)
            owed = asked.complete or asked.patient
            if not await wire.wait(1, HANG_S if owed else LEAVE_S):
                self.outcome.note(asked, LEFT if not owed else NONE, *(("hang", "no answer") if owed else ()))
                return
            answer = wire.taken()
            if answer is None:
                if asked.complete or asked.patient:
                    self._broken(asked, wire)
                else:
                    self.outcome.note(asked, CLOSED)
                return
            self._judge(asked, answer)
            if asked.ambiguous:
                await wire.wait(1, SECOND_ANSWER_S)
                if (second := wire.taken()) is not None and second.status < 400:
                    self.outcome.note(asked, "second", "smuggled", f"{answer.status}, then {second.status}")
        finally:
            wire.abort()

    async def _opened(self, asked: Case) -> Wire | None:
        for _ in range(20):
            try:
                return await Wire.opened("127.0.0.1", self._port)
            except OSError as error:
                refused = str(error)
                await asyncio.sleep(0.1)
        self.outcome.note(asked, NONE, "refused", f"no connection: {refused}")
        return None

    def _judge(self, asked: Case, answer: Answer) -> None:
        bad = answer.status >= 500 and answer.status not in EXPECTED_5XX
        kind = str(answer.status) if bad else None
        if asked.route == "stream" and answer.status == 200 and b'"status":500' in answer.beginning:
            kind = "500 in a line"
        self.outcome.note(asked, str(answer.status), kind, answer.beginning[:300].decode("utf-8", "replace"))

    def _broken(self, asked: Case, wire: Wire) -> None:
        """The connection ended before the answer did. One who sends more than is read may lose it."""
        allowed = len(asked.data) > LINGER_BYTES and not wire.reader.midway
        detail = "the answer broke off" if wire.reader.midway else "the connection was closed without an answer"
        self.outcome.note(asked, CLOSED, None if allowed else "cut", detail)
