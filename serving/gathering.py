"""Calls that come while one is under way are made together, as the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Gathering(Generic[K, V]):
    """Makes many small calls few large ones, as many as the other side has time for; a lone call goes at once.

    A caller that leaves takes nothing along: what it asked is answered to nobody.
    """

    def __init__(self, call: Callable[[list[K]], Awaitable[Sequence[V]]], most: int) -> None:
        """``call`` answers each of its items, in order; more than ``most`` of them are of one caller."""
        self._call, self._most = call, most
        self._waiting: list[tuple[Sequence[K], asyncio.Future[Sequence[V]]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, items: Sequence[K]) -> Sequence[V]:
        """The answers to ``items``, in order."""
        answered: asyncio.Future[Sequence[V]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, answered))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await answered

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._one()
        finally:
            self._working = None

    async def _one(self) -> None:
        items: list[K] = []
        callers: list[tuple[int, asyncio.Future[Sequence[V]]]] = []
        taken = 0
        for more, answered in self._waiting:
            if items and len(items) + len(more) > self._most:
                break
            taken += 1
            if not answered.done():  # whoever left is done
                callers.append((len(items), answered))
                items += more
        del self._waiting[:taken]
        if not items:
            return
        try:
            answers = await self._call(items)
        except asyncio.CancelledError:
            for _, answered in callers:
                answered.cancel()
            raise
        except Exception as error:  # whatever it is, it is those callers'
            for _, answered in callers:
                if not answered.done():
                    answered.set_exception(error)
            return
        ends = [start for start, _ in callers[1:]] + [len(items)]
        for (start, answered), end in zip(callers, ends, strict=True):
            if not answered.done():
                answered.set_result(answers[start:end])
