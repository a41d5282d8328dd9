"""The open loop: requests come at random times, whatever the server does.

Latencies count from when a request was meant to be sent, so a server that stalls cannot hide it by slowing its clients
down ("coordinated omission").
"""

import asyncio
import itertools
import math
import random
import time
from collections import deque

from benchmarks.alarm import at_times
from benchmarks.jobs import UNANSWERED, Note
from benchmarks.loops import Loop
from benchmarks.reviews import SEED
from benchmarks.wire import Connection

FIRST_CONNECTIONS, CONNECTIONS = 64, 512
"""An open loop starts with so many, and opens more where none is free; then requests wait, and their latency tells."""


class OpenLoop(Loop):
    """Requests come at random times (Poisson), and the window is one of time."""

    drain_s = 2.0
    most_connections = CONNECTIONS

    async def play(self) -> None:
        """See Loop."""
        phase, chance = self.phase, random.Random(SEED)
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[int, float, bytes]] = deque()
        self._late: list[float] = []
        for _ in range(min(FIRST_CONNECTIONS, math.ceil(phase.rate))):
            self._idle.append(await self.connect())
        self.begun = time.perf_counter() + 0.05
        times = itertools.accumulate((chance.expovariate(phase.rate) for _ in itertools.count()), initial=self.begun)
        opens = self.begun + phase.warm_up_s
        closes = opens + phase.seconds
        meant = list(itertools.takewhile(lambda at: at < closes, times))
        sending = asyncio.create_task(at_times(meant, self._arrive))
        await asyncio.sleep(opens - time.perf_counter())
        self.open_window(opens)
        await asyncio.sleep(closes - time.perf_counter())
        self.close_window(closes)
        await sending
        now = time.perf_counter()
        self.notes += [Note(request, at, now, UNANSWERED) for request, at, _ in self._waiting]
        self._waiting.clear()

    def free(self, connection: Connection | None, now: float) -> None:
        """See Loop."""
        if connection is None:
            return
        if self._waiting:
            request, meant, data = self._waiting.popleft()
            self._late.append(now - meant)
            self.send(connection, request, meant, data)
        else:
            self._idle.append(connection)

    def counted(self) -> list[Note]:
        """Those that were meant for inside the window."""
        return [note for note in self.notes if self.began <= note.started < self.ended]

    def late(self) -> list[float]:
        """See Loop."""
        return self._late

    def _arrive(self, meant: float) -> None:
        request, data = self.requests.next()
        while self._idle:
            connection = self._idle.popleft()
            if connection in self.connections:  # the server may have hung up since
                self._late.append(time.perf_counter() - meant)
                self.send(connection, request, meant, data)
                return
        self._waiting.append((request, meant, data))
        if self.held < self.most_connections:
            self.connect_soon()
