"""One phase of load: what all loops have, and the closed one, whose clients wait for answers before they go on."""

import asyncio
import math
import time
from collections import Counter
from contextlib import suppress
from typing import Protocol

from benchmarks.jobs import DROPPED, UNANSWERED, Measured, Note, Phase, percentile
from benchmarks.wire import IDLE, Connection

ROUNDS = 2
"""A closed loop goes on until there are so many answers for each client, on average."""
PATIENCE_S = 120.0
"""It is given up so long after it should have ended."""
HIT = b'"cached":true'


class NotAnswered(RuntimeError):
    """A closed loop that the server did not answer often enough to be measured."""


class Requests(Protocol):
    """Requests that lie ready."""

    texts: list[list[str]]
    """By number."""

    def next(self) -> tuple[int, bytes]:
        """The next one's number and bytes."""


class Clock(Protocol):
    """Processor time of the server."""

    def seconds(self) -> float:
        """So far."""


class Loop:
    """What both have: connections, notes of what was answered, and the window in which it counts."""

    drain_s: float
    """So long is waited for what is under way at the end."""

    def __init__(self, port: int, phase: Phase, requests: Requests, server: Clock) -> None:
        self.notes: list[Note] = []
        self.phase, self.requests = phase, requests
        self.begun = self.began = self.ended = math.inf
        """When the first request was sent, and when the window opened and closed."""
        self.connections: set[Connection] = set()
        self._port, self._server = port, server
        self._opening: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._nothing_under_way = asyncio.Event()
        self._spent: list[tuple[float, float]] = []

    async def run(self) -> Measured:
        """Run it, wait for what is under way, hang up, and measure."""
        await self.play()
        self._nothing_under_way.clear()
        if self._under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nothing_under_way.wait(), self.drain_s)
        now = time.perf_counter()
        for connection in self.connections:
            if connection.request != IDLE:
                self.notes.append(Note(connection.request, connection.started, now, UNANSWERED))
                connection.request = IDLE
            connection.close()
        return self._measured()

    async def play(self) -> None:
        """Send, and open and close the window."""
        raise NotImplementedError

    def free(self, connection: Connection | None, now: float) -> None:
        """``connection`` was answered, or, where it is None, one was lost before it was."""
        raise NotImplementedError

    def counted(self) -> list[Note]:
        """The notes whose latencies and errors count."""
        raise NotImplementedError

    def speed(self, reviews: int) -> float:
        """Reviews a second; so many were answered inside the window."""
        return reviews / (self.ended - self.began)

    def late(self) -> list[float]:
        """Seconds by which requests were sent later than meant."""
        return []

    async def connect(self) -> Connection:
        """Open one more connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._answered, self._lost), "127.0.0.1", self._port
        )
        self.connections.add(connection)
        return connection

    def connect_soon(self) -> None:
        """Open one more connection and have it treated as one that was answered."""

        async def connected() -> None:
            with suppress(OSError):
                self.free(await self.connect(), time.perf_counter())

        task = asyncio.get_running_loop().create_task(connected())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    @property
    def held(self) -> int:
        """Connections, and those that are being opened."""
        return len(self.connections) + len(self._opening)

    def send(self, connection: Connection, request: int, meant: float, data: bytes) -> None:
        """Ask on a free connection."""
        self._under_way += 1
        connection.send(request, meant, data)

    def open_window(self, now: float) -> None:
        """From now on answers count."""
        self._spent.append((self._server.seconds(), time.process_time()))
        self.began = now

    def close_window(self, now: float) -> None:
        """From now on they do not."""
        self._spent.append((self._server.seconds(), time.process_time()))
        self.ended = now

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        self.notes.append(Note(connection.request, connection.started, now, status, body))
        connection.request = IDLE
        self._over(connection, now)

    def _lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection.request != IDLE:
            now = time.perf_counter()
            self.notes.append(Note(connection.request, connection.started, now, DROPPED))
            self._over(None, now)

    def _over(self, connection: Connection | None, now: float) -> None:
        self._under_way -= 1
        self.free(connection, now)
        if not self._under_way:
            self._nothing_under_way.set()

    def _measured(self) -> Measured:
        answered = [note for note in self.notes if self.began < note.ended <= self.ended and note.status == 200]
        counted = self.counted()
        waited = sorted(1e3 * (note.ended - note.started) for note in counted if note.status in (200, UNANSWERED))
        (server_before, own_before), (server_after, own_after) = self._spent
        reviews = sum(len(self.requests.texts[note.request]) for note in answered)
        return Measured(
            requests=len(answered),
            reviews=reviews,
            seconds=self.ended - self.began,
            speed=self.speed(reviews),
            p50_ms=percentile(waited, 0.5),
            p99_ms=percentile(waited, 0.99),
            errors=dict(Counter(str(note.status) for note in counted if note.status != 200)),
            server_cpu_s=server_after - server_before,
            load_cpu_s=own_after - own_before,
            hits=sum(note.body.count(HIT) for note in answered),
            late_ms=1e3 * percentile(sorted(self.late()), 0.99),
        )


class ClosedLoop(Loop):
    """Each client sends its next request when the last is answered.

    The window opens once there were as many answers as clients, and lasts for more than that.
    """

    drain_s = 20.0
    _sent = _before = 0

    async def play(self) -> None:
        """See Loop."""
        phase, self._finished = self.phase, asyncio.Event()
        connections = [await self.connect() for _ in range(phase.clients)]
        self.begun = time.perf_counter()
        if phase.requests:
            self.open_window(self.begun)
        for connection in connections:
            self._ask(connection)
        limit_s = phase.warm_up_s + phase.seconds + PATIENCE_S
        try:
            await asyncio.wait_for(self._finished.wait(), limit_s)
        except TimeoutError as error:
            raise NotAnswered(f"{len(self.notes)} answers to {phase.clients} client(s) in {limit_s:.0f} s") from error

    def free(self, connection: Connection | None, now: float) -> None:
        """See Loop."""
        self._move_window(now)
        if self.ended < math.inf or (self.phase.requests and self._sent == self.phase.requests):
            return
        if connection is None:
            self.connect_soon()
        else:
            self._ask(connection)

    def counted(self) -> list[Note]:
        """Those that were over inside the window, and those that never were."""
        return [note for note in self.notes if self.began < note.ended <= self.ended or note.status == UNANSWERED]

    def speed(self, reviews: int) -> float:
        """Of clients that never pause: their number over the time that a review took (Little's law).

        Where a server answers many at once, and seldom, a count would depend on where the window begins and ends.
        """
        if self.phase.requests:
            return super().speed(reviews)
        taken = sum(note.ended - note.started for note in self.notes if self.began < note.ended <= self.ended)
        return self.phase.clients * reviews / taken if taken else 0.0

    def _ask(self, connection: Connection) -> None:
        self._sent += 1
        number, data = self.requests.next()
        self.send(connection, number, time.perf_counter(), data)

    def _move_window(self, now: float) -> None:
        phase = self.phase
        if self.ended < math.inf:
            return
        if phase.requests:
            if len(self.notes) == phase.requests:
                self.close_window(now)
                self._finished.set()
        elif self.began == math.inf:
            if now - self.begun >= phase.warm_up_s and len(self.notes) >= phase.clients:
                self._before = len(self.notes)
                self.open_window(now)
        elif now - self.began >= phase.seconds and len(self.notes) >= self._before + ROUNDS * phase.clients:
            self.close_window(now)
            self._finished.set()
