"""Callers take turns: who asks much waits behind himself, not in front of others.

Start-time fair queueing (Goyal, Vin, Cheng, 1996): what a caller asks begins, in virtual time, when what it asked
before ends, or now if that is over; whatever begins first is next. So callers that have something waiting get equal
shares of the tokens, and one alone gets all of them, in the order in which it asked.
"""

import heapq
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from itertools import count
from typing import Generic, NamedTuple, TypeVar

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""Whose request is being answered; set by ``serving.access.guard``."""
REMEMBERED = 1_024
"""So many callers' virtual ends are kept."""

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """Something that waits: when it begins in virtual time, its place among equals, and what it is."""

    start: float
    place: int
    item: T


class FairQueue(Generic[T]):
    """Items by their callers, in the order in which they are to be served."""

    def __init__(self) -> None:
        self._heap: list[Waiting[T]] = []
        self._ends: dict[str, float] = {}
        self._now = 0.0
        self._places = count()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[T]:
        return (waiting.item for waiting in self._heap)

    @property
    def first(self) -> T:
        """What is next. Raises IndexError where nothing waits."""
        return self._heap[0].item

    def add(self, item: T, caller: str, cost: float) -> None:
        """``cost`` in tokens."""
        if len(self._ends) >= REMEMBERED:
            self._forget()
        start = max(self._now, self._ends.get(caller, 0.0))
        self._ends[caller] = start + cost
        heapq.heappush(self._heap, Waiting(start, next(self._places), item))

    def take(self) -> Waiting[T]:
        """What is next, out of the queue. Raises IndexError where nothing waits."""
        return heapq.heappop(self._heap)

    def give_back(self, passed: Iterable[Waiting[T]]) -> None:
        """What was taken and not served: it stands where it stood."""
        for waiting in passed:
            heapq.heappush(self._heap, waiting)

    def serve(self, waiting: Waiting[T]) -> None:
        """It is being served: whoever comes now begins no earlier. Where nothing waits, nobody is behind."""
        self._now = max(self._now, waiting.start)
        if not self._heap:
            self._ends.clear()

    def _forget(self) -> None:
        """Of more callers than are remembered, those who asked for most stay, for they have most to wait for."""
        behind = sorted(((end, name) for name, end in self._ends.items() if end > self._now), reverse=True)
        self._ends = {name: end for end, name in behind[: REMEMBERED // 2]}
