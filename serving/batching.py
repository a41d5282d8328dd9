"""One adaptive batcher for all routes: BentoML's dispatcher, with a release policy of our own.

BentoML batches the calls of an API method that come through that method's route. Routes of a mounted app do not, and
calling the service from itself costs an HTTP round trip. So the application factory, which owns the dispatchers, is
kept where the routes can await it. These are internals of the pinned BentoML; ``tests/contract`` guards them.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk import Service
from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job
from bentoml.exceptions import ServiceUnavailable
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from serving import connections
from serving.errors import Overloaded, RequestInvalid
from serving.fairness import CALLER, FairQueue, Waiting
from serving.model import Model
from serving.pace import Pace
from serving.telemetry.metrics import Metrics

INFER = "infer"
"""Name of the batchable method: token id rows to P(positive)."""

Rows = list[list[int]]


class Piece(NamedTuple):
    """A row of token ids, the model that is to judge it, and who wants to know."""

    model: Model
    ids: list[int]
    caller: str = ""


Pieces = list[Piece]
Observer = Callable[[Model, int, float], None]
"""Told of each call: whose it was, its tokens, and the seconds that it took."""


LOOK_AHEAD = 256
"""So many that cannot join a call are passed over in search of one that can."""
AHEAD = 2
"""Calls under way for each stream: one at work and one at hand, so that no stream waits for the event loop."""
CALLER_SHARE = 0.5
"""Of the queue, at most this is one caller's, so that there is room for others; what it asks first always fits."""
FORESEEN = 0.5
"""Of the longest wait, at most this much may be in sight for one who comes: what is foreseen may be off by as much."""
FEWEST_TOKENS = 3
"""Of a row: its beginning, its end and something in between."""
LANES = 64
"""Parts of one request that are on their way at a time: others' rows come in between."""


class ReadyDispatcher(CorkDispatcher[Pieces, list[float]]):
    """BentoML's dispatcher, but whoever waits is sent as soon as one of the model's streams is free, a call at a time.

    A call is the job that is next (``FairQueue``: callers take turns, and of one caller it is the one that has waited
    longest) and whatever of the same model may share a call with it (``Cut.admits``).
    The streams are the processor's, so models that are beside each other share them, too. BentoML's own
    policy holds a batch back while it expects more rows to pay for the wait, and has one batch under way. While all
    streams are at work rows gather by themselves, so under load calls are full; a lone caller never waits, and nobody
    waits for the slowest call of a batch. Rows whose callers have left are not inferred.
    """

    def __init__(self, stock: "CorkDispatcher[Any, Any]", metrics: Metrics) -> None:
        super().__init__(
            round(stock.max_latency * 1_000),
            stock.max_batch_size,
            fallback=stock.fallback,
            get_batch_size=stock.get_batch_size,
            batch_dim=stock.batch_dim,
        )
        self.pace = Pace()
        self._metrics = metrics
        self._queue: FairQueue[Job[Pieces, list[float]]] = FairQueue()  # type: ignore[assignment]
        self._changed = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    async def controller(self) -> None:
        """Keep all streams at work while anything waits."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._has_room() and (jobs := self._next_call()):
                call = self._loop.create_task(self.outbound_call(jobs))
                self._calls.add(call)
                call.add_done_callback(self._over)

    async def inbound_call(self, data: Pieces) -> list[float] | Exception:
        """Wait for the answers to ``data``."""
        job = Job[Pieces, list[float]](time.monotonic(), data, self._loop.create_future())
        self._queue.add(job, data[0].caller, sum(len(piece.ids) for piece in data))
        self._changed.set()
        answers = await job.future
        done = time.monotonic()
        self._metrics.waited(job.dispatch_time - job.enqueue_time, done - job.dispatch_time)
        return answers

    async def outbound_call(self, inputs_info: tuple[Job[Pieces, list[float]], ...], training: bool = True) -> None:
        """Infer a call. ``training`` tells the optimizer, which is not asked, to learn nothing of waiting times."""
        now = time.monotonic()
        for job in inputs_info:
            job.dispatch_time = now
        await super().outbound_call(inputs_info, training)
        tokens = sum(len(piece.ids) for job in inputs_info for piece in job.data)
        self.pace.done(tokens, time.monotonic(), waiting=bool(self._queue))

    def shutdown(self) -> None:
        """Stop; what waits is refused."""
        super().shutdown()
        for call in self._calls:
            call.cancel()

    def _over(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._changed.set()

    def _has_room(self) -> bool:
        """Whether the model that is next has a stream free, or one call less at hand than it may have."""
        if not self._queue:
            return False
        return len(self._calls) < AHEAD * self._queue.first.data[0].model.runner.schedule.engine.layout.streams

    def _next_call(self) -> tuple[Job[Pieces, list[float]], ...]:
        """The job that is next, and those after it that may share its call; a larger job is alone."""
        chosen: list[Waiting[Job[Pieces, list[float]]]] = []
        passed: list[Waiting[Job[Pieces, list[float]]]] = []
        rows = longest = 0
        now = time.monotonic()
        while self._queue and len(passed) < LOOK_AHEAD:
            waiting = self._queue.take()
            job = waiting.item
            if job.future.done():  # its callers have left
                self._metrics.abandoned(len(job.data))
                continue
            if now - job.enqueue_time > self.max_latency:
                job.future.cancel()  # to be refused by the fallback
                continue
            model, more, length = job.data[0].model, len(job.data), max(len(piece.ids) for piece in job.data)
            cut = model.runner.schedule.cut
            if chosen and model is not chosen[0].item.data[0].model:
                passed.append(waiting)
                continue
            if chosen and (rows + more > self.max_batch_size or not cut.admits(rows, longest, more, length)):
                passed.append(waiting)
                if not cut.admits(rows, longest, 1, longest):  # nothing can join any more
                    break
                continue
            chosen.append(waiting)
            rows, longest = rows + more, max(longest, length)
        self._queue.give_back(passed)
        for waiting in chosen:
            self._queue.serve(waiting)
        return tuple(waiting.item for waiting in chosen)


class Inference:
    """Runs calls, each on a thread of its own; models whose engines use the processor alike share the threads."""

    def __init__(self, metrics: Metrics, observer: Observer | None = None) -> None:
        self._metrics = metrics
        self._observer = observer
        self._streams: dict[int, ThreadPoolExecutor] = {}

    async def __call__(self, call: Pieces) -> list[float]:
        """P(positive) of rows that one model may be given at once. Raises what the engine raises."""
        model, rows = call[0].model, [piece.ids for piece in call]
        found, seconds = await asyncio.get_running_loop().run_in_executor(self._threads(model), _timed, model, rows)
        tokens = sum(map(len, rows))
        self._metrics.batch(len(rows), tokens, seconds)
        if self._observer is not None:
            self._observer(model, tokens, seconds)
        return found

    def close(self) -> None:
        """Let go of the threads."""
        for threads in self._streams.values():
            threads.shutdown()

    def _threads(self, model: Model) -> ThreadPoolExecutor:
        streams = model.runner.schedule.engine.layout.streams  # another number once a device has failed
        if streams not in self._streams:
            self._streams[streams] = ThreadPoolExecutor(streams, "infer")
        return self._streams[streams]


def _timed(model: Model, rows: Rows) -> tuple[list[float], float]:
    started = time.perf_counter()
    found: list[float] = model.positive_of_call(rows).tolist()
    return found, time.perf_counter() - started


class _Factory(ServiceAppFactory):
    """BentoML's application, made ours.

    It has our dispatcher, and no public route to the batched method: token ids are no one's interface. Of BentoML's
    middlewares only the one stays that its native routes need: the others label metrics with whatever path a caller
    makes up, log a line of their own for each request, and keep a timer for each until long after its end.
    """

    def __init__(self, service: "BatchingService", *, is_main: bool) -> None:
        super().__init__(service, is_main=is_main)
        self.dispatchers[INFER] = ReadyDispatcher(self.dispatchers[INFER], service.metrics)

    @property
    def routes(self) -> list[BaseRoute]:
        return [route for route in super().routes if not (isinstance(route, Route) and route.name == INFER)]

    @property
    def middlewares(self) -> list[Middleware]:
        needed = [each for each in super().middlewares if getattr(each.cls, "__name__", "") == "ContextMiddleware"]
        return [*self.service.own_middlewares, *needed]


class BatchingService(Service[Any]):
    """A BentoML service that lets its own instance reach the dispatchers, through ``factory``."""

    factory: ServiceAppFactory | None = None
    metrics: Metrics
    own_middlewares: Sequence[Middleware]
    max_connections: int

    def equip(self, metrics: Metrics, middlewares: Sequence[Middleware], max_connections: int) -> None:
        """What the application is to be made with, and how many connections its server is to hold."""
        self.metrics, self.own_middlewares, self.max_connections = metrics, middlewares, max_connections

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application, as BentoML's server asks for it before it begins to listen."""
        connections.bound(self.max_connections)
        self.inject_config()
        self.factory = _Factory(self, is_main=is_main)
        app: ASGIApp = self.factory()
        return app


class SharedBatcher:
    """Sends rows through the dispatcher of a running service; see ``serving.sentiment.Batcher``."""

    def __init__(self, factory: ServiceAppFactory, metrics: Metrics, *, max_queue_tokens: int) -> None:
        self._factory = factory
        self._dispatcher: ReadyDispatcher = factory.dispatchers[INFER]
        self._metrics = metrics
        self._max_queue_tokens = max_queue_tokens
        self._max_wait_s: float = FORESEEN * self._dispatcher.max_latency
        self._waiting_tokens = 0
        self._of: Counter[str] = Counter()
        metrics.queued(0, self.limit_tokens)

    @property
    def limit_tokens(self) -> float:
        """So many may wait or be inferred: those that are done within the longest wait, as far as that is known."""
        done_in_time = self._max_wait_s * self._dispatcher.pace.tokens_per_s
        return min(float(self._max_queue_tokens), done_in_time)

    @property
    def load(self) -> float:
        """How full the queue is; 1 where who comes is refused, unless it asks less than others."""
        return self._waiting_tokens / self.limit_tokens

    async def positive(self, model: Model, rows: Rows) -> list[float]:
        """P(positive) of each row, in order, from whatever calls the dispatcher makes of them.

        Raises Overloaded at once where the queue has no room, or none for this caller, or where it would have to wait
        too long, and later where that was not foreseen; RequestInvalid for more than the queue ever holds.
        """
        tokens = sum(map(len, rows))
        if tokens > self._max_queue_tokens:
            raise RequestInvalid(f"the texts hold {tokens} tokens; at most {self._max_queue_tokens} are allowed")
        caller = CALLER.get()
        self._check_room(caller, tokens)
        self._took(caller, tokens)
        try:
            return await (self._infer(model, rows) if len(rows) == 1 else self._in_parts(model, rows))
        except ServiceUnavailable as error:
            if (task := asyncio.current_task()) and task.cancelling():  # BentoML takes leaving for being refused
                raise asyncio.CancelledError from error
            raise Overloaded("the request waited too long in the queue") from error
        finally:
            self._took(caller, -tokens)

    def expect(self, rows: int) -> None:
        """Raises Overloaded where there is no room for so many rows, however short they are."""
        if (tokens := rows * FEWEST_TOKENS) <= self._max_queue_tokens:
            self._check_room(CALLER.get(), tokens)

    def _check_room(self, caller: str, tokens: int) -> None:
        if self._waiting_tokens + tokens > self._max_queue_tokens:
            raise Overloaded(
                f"{self._waiting_tokens} of {self._max_queue_tokens} tokens of the queue are taken; {tokens} more "
                "do not fit"
            )
        if self._of[caller] and self._of[caller] + tokens > CALLER_SHARE * self._max_queue_tokens:
            raise Overloaded(f"{self._of[caller]} tokens of this caller wait; {tokens} more would leave others no room")
        if (wait_s := self._foreseen_s(caller, tokens)) > self._max_wait_s:
            raise Overloaded(
                f"work of {wait_s:.1f} s is ahead of this request; at most {self._max_wait_s:.1f} s may be"
            )

    def _foreseen_s(self, caller: str, tokens: int) -> float:
        """How long ``tokens`` more of this caller would wait: for its own, and for as much of each other's."""
        pace = self._dispatcher.pace
        if (most := pace.seconds(self._waiting_tokens)) <= self._max_wait_s:
            return most
        own = self._of[caller]
        others = sum(min(waiting, own + tokens) for other, waiting in self._of.items() if other != caller)
        return pace.seconds(own + others)

    def _took(self, caller: str, tokens: int) -> None:
        self._waiting_tokens += tokens
        self._of[caller] += tokens
        if not self._of[caller]:
            del self._of[caller]
        self._metrics.queued(self._waiting_tokens, self.limit_tokens)

    async def _infer(self, model: Model, rows: Rows) -> list[float]:
        caller = CALLER.get()
        pieces = [Piece(model, ids, caller) for ids in rows]
        return await self._factory.batch_infer(INFER, (pieces,), {})  # type: ignore[no-any-return]

    async def _in_parts(self, model: Model, rows: Rows) -> list[float]:
        """Each part is of rows that may share a call, and is free to share one with others'; long rows begin."""
        found = [0.0] * len(rows)
        most = self._dispatcher.max_batch_size
        calls = model.runner.schedule.cut.parts([len(row) for row in rows])
        parts = [call[start : start + most] for call in reversed(calls) for start in range(0, len(call), most)]
        waiting = iter(parts)

        async def lane() -> None:
            for part in waiting:
                for row, positive in zip(part, await self._infer(model, [rows[row] for row in part]), strict=True):
                    found[row] = positive

        lanes = [asyncio.create_task(lane()) for _ in range(min(LANES, len(parts)))]
        try:
            await asyncio.gather(*lanes)
        finally:
            for each in lanes:
                each.cancel()
        return found
