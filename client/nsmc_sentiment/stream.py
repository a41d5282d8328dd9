"""Reviews without end: cut into batches, several of which are under way at a time, with the verdicts in order."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass

from nsmc_sentiment import calls
from nsmc_sentiment.answers import Verdict
from nsmc_sentiment.calls import Call, Flags
from nsmc_sentiment.endpoint import LIMITS, Endpoint
from nsmc_sentiment.loop_thread import LoopThread
from nsmc_sentiment.sending import AsyncSender

Batch = Call[list[Verdict]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How reviews become calls: ``batch_size`` each, at most ``concurrency`` calls at a time.

    Each call has a request id of its own: ``request_id``, where there is one, and the call's number from 0. Raises
    ValueError for what is outside its range.
    """

    batch_size: int
    concurrency: int
    flags: Flags
    request_id: str | None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it must be at least 1")
        most = LIMITS.max_connections or 1
        if not 1 <= self.concurrency <= most:
            raise ValueError(f"concurrency is {self.concurrency}; it must be 1 to {most}")
        calls.identity(self._identity(0))

    def calls(self, texts: Iterable[str]) -> Iterator[Batch]:
        """The calls, each made when it is asked for."""
        rest = iter(texts)
        for number in itertools.count():
            taken = list(itertools.islice(rest, self.batch_size))
            if not taken:
                return
            yield self._call(taken, number)

    async def calls_async(self, texts: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[Batch, None]:
        """The calls, each made when it is asked for."""
        if not isinstance(texts, AsyncIterable):
            for call in self.calls(texts):
                yield call
            return
        taken: list[str] = []
        numbers = itertools.count()
        async for text in texts:
            taken.append(text)
            if len(taken) == self.batch_size:
                yield self._call(taken, next(numbers))
                taken = []
        if taken:
            yield self._call(taken, next(numbers))

    def _call(self, texts: list[str], number: int) -> Batch:
        return calls.batch(texts, self.flags, self._identity(number), first=number * self.batch_size)

    def _identity(self, number: int) -> str | None:
        return None if self.request_id is None else f"{self.request_id}-{number}"


def verdicts(endpoint: Endpoint, plan: Plan, texts: Iterable[str]) -> Generator[Verdict, None, None]:
    """Verdicts in the order of ``texts``, which are taken in the caller's thread.

    The calls run on an event loop in a thread that lasts as long as the generator: unlike threads that wait for a
    socket, they can be cancelled when it is closed.
    """
    sender = AsyncSender(endpoint)
    with LoopThread(sender) as loop:
        pending: deque[Future[list[Verdict]]] = deque()
        for call in plan.calls(texts):
            pending.append(loop.submit(sender.run(call)))
            while pending and (len(pending) >= plan.concurrency or pending[0].done()):
                yield from pending[0].result()
                pending.popleft()
        while pending:
            yield from pending[0].result()
            pending.popleft()


async def verdicts_async(
    sender: AsyncSender, plan: Plan, texts: Iterable[str] | AsyncIterable[str]
) -> AsyncGenerator[Verdict, None]:
    """Verdicts in the order of ``texts``."""
    pending: deque[asyncio.Task[list[Verdict]]] = deque()
    try:
        async with aclosing(plan.calls_async(texts)) as made:
            async for call in made:
                pending.append(asyncio.create_task(sender.run(call)))
                while pending and (len(pending) >= plan.concurrency or pending[0].done()):
                    for verdict in await pending[0]:
                        yield verdict
                    pending.popleft()
        while pending:
            for verdict in await pending[0]:
                yield verdict
            pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
