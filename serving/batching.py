"""One adaptive batcher for all routes: BentoML's dispatcher, with a release policy of our own.

BentoML batches the calls of an API method that come through that method's route. Routes of a mounted app do not, and
calling the service from itself costs an HTTP round trip. So the application factory, which owns the dispatchers, is
kept where the routes can await it. These are internals of the pinned BentoML; ``tests/contract`` guards them.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk import Service
from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job
from bentoml.exceptions import ServiceUnavailable
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from serving.errors import Overloaded, RequestInvalid
from serving.telemetry.metrics import Metrics

INFER = "infer"
"""Name of the batchable method: token id rows to P(positive)."""

Rows = list[list[int]]


class ReadyDispatcher(CorkDispatcher[Rows, list[float]]):
    """BentoML's dispatcher, but a batch leaves as soon as the model is free, with whatever waits by then.

    BentoML's own policy holds a batch back while it expects more rows to pay for the wait. While the model is at work
    rows gather by themselves, so under load batches are full, and a lone caller never waits. A batch is bounded in rows
    and in tokens. Rows whose callers have left are not inferred.
    """

    def __init__(self, stock: "CorkDispatcher[Any, Any]", max_batch_tokens: int, metrics: Metrics) -> None:
        super().__init__(
            round(stock.max_latency * 1_000),
            stock.max_batch_size,
            fallback=stock.fallback,
            get_batch_size=stock.get_batch_size,
            batch_dim=stock.batch_dim,
        )
        self._max_batch_tokens = max_batch_tokens
        self._metrics = metrics
        self._arrived = asyncio.Event()

    async def controller(self) -> None:
        """Send batch after batch, one at a time."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while jobs := self._next_batch():
                await self.outbound_call(jobs)

    async def inbound_call(self, data: Rows) -> list[float] | Exception:
        """Wait for the answers to ``data``."""
        job = Job[Rows, list[float]](time.monotonic(), data, self._loop.create_future())
        self._queue.append(job)
        self._arrived.set()
        answers = await job.future
        done = time.monotonic()
        self._metrics.waited(job.dispatch_time - job.enqueue_time, done - job.dispatch_time)
        return answers

    async def outbound_call(self, inputs_info: tuple[Job[Rows, list[float]], ...], training: bool = True) -> None:
        """Infer a batch. ``training`` tells the optimizer, which is not asked, to learn nothing of waiting times."""
        started = time.monotonic()
        for job in inputs_info:
            job.dispatch_time = started
        await super().outbound_call(inputs_info, training)
        rows = sum(len(job.data) for job in inputs_info)
        self._metrics.batch(rows, sum(map(_tokens, inputs_info)), time.monotonic() - started)

    def _next_batch(self) -> tuple[Job[Rows, list[float]], ...]:
        """The jobs that have waited longest, up to the bounds; a job over a bound is a batch of its own."""
        jobs: list[Job[Rows, list[float]]] = []
        rows = tokens = 0
        now = time.monotonic()
        while self._queue:
            job = self._queue[0]
            if job.future.done():  # its callers have left
                self._metrics.abandoned(len(self._queue.popleft().data))
                continue
            if now - job.enqueue_time > self.max_latency:
                self._queue.popleft().future.cancel()  # to be refused by the fallback
                continue
            rows, tokens = rows + len(job.data), tokens + _tokens(job)
            if jobs and (rows > self.max_batch_size or tokens > self._max_batch_tokens):
                break
            jobs.append(self._queue.popleft())
        return tuple(jobs)


def _tokens(job: Job[Rows, list[float]]) -> int:
    return sum(map(len, job.data))


class _Factory(ServiceAppFactory):
    """BentoML's application, made ours.

    It has our dispatcher, and no public route to the batched method: token ids are no one's interface. Of BentoML's
    middlewares only the one stays that its native routes need: the others label metrics with whatever path a caller
    makes up, log a line of their own for each request, and keep a timer for each until long after its end.
    """

    def __init__(self, service: "BatchingService", *, is_main: bool) -> None:
        super().__init__(service, is_main=is_main)
        self.dispatchers[INFER] = ReadyDispatcher(self.dispatchers[INFER], service.max_batch_tokens, service.metrics)

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
    max_batch_tokens: int
    metrics: Metrics
    own_middlewares: Sequence[Middleware]

    def equip(self, metrics: Metrics, max_batch_tokens: int, middlewares: Sequence[Middleware]) -> None:
        """What the application is to be made with."""
        self.metrics, self.max_batch_tokens, self.own_middlewares = metrics, max_batch_tokens, middlewares

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application, as BentoML's server asks for it."""
        self.inject_config()
        self.factory = _Factory(self, is_main=is_main)
        app: ASGIApp = self.factory()
        return app


class SharedBatcher:
    """Sends rows through the dispatcher of a running service; see ``serving.sentiment.Batcher``."""

    def __init__(
        self,
        factory: ServiceAppFactory,
        metrics: Metrics,
        *,
        max_batch_size: int,
        max_batch_tokens: int,
        max_queue_tokens: int,
    ) -> None:
        self._factory = factory
        self._metrics = metrics
        self._max_batch_size = max_batch_size
        self._max_batch_tokens = max_batch_tokens
        self._max_queue_tokens = max_queue_tokens
        self._waiting_tokens = 0

    async def positive(self, rows: Rows) -> list[float]:
        """P(positive) of each row, in order, from whatever batches the dispatcher makes of them.

        Raises Overloaded at once where the queue has no room, or when a row waited too long in it; RequestInvalid for
        more than the queue ever holds. Many rows are sent a batch at a time, so that other callers' rows come between.
        """
        tokens = sum(map(len, rows))
        if tokens > self._max_queue_tokens:
            raise RequestInvalid(f"the texts hold {tokens} tokens; at most {self._max_queue_tokens} are allowed")
        if self._waiting_tokens + tokens > self._max_queue_tokens:
            raise Overloaded(
                f"{self._waiting_tokens} of {self._max_queue_tokens} tokens of the queue are taken; {tokens} more "
                "do not fit"
            )
        self._took(tokens)
        try:
            found: list[float] = []
            for part in self._parts(rows):
                found += await self._factory.batch_infer(INFER, (part,), {})
        except ServiceUnavailable as error:
            raise Overloaded("the request waited too long in the queue") from error
        finally:
            self._took(-tokens)
        return found

    def _took(self, tokens: int) -> None:
        self._waiting_tokens += tokens
        self._metrics.queued(self._waiting_tokens)

    def _parts(self, rows: Rows) -> list[Rows]:
        """``rows``, in order, in parts that fit in a batch; a row over the bound is a part of its own."""
        parts: list[Rows] = []
        tokens = 0
        for row in rows:
            tokens += len(row)
            if not parts or len(parts[-1]) == self._max_batch_size or tokens > self._max_batch_tokens:
                parts.append([])
                tokens = len(row)
            parts[-1].append(row)
        return parts
