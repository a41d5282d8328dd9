"""Callers take turns: who asks much waits behind himself, not in front of others.

Start-time fair queueing (Goyal, Vin, Cheng, 1996): what a caller asks begins, in virtual time, when what it asked
before ends, or now if that is over; whatever begins first is next. So callers that have something waiting get equal
shares of the tokens, and one alone gets all of them, in the order in which it asked.
"""

from bisect import insort
from collections.abc import Iterator, Sequence
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
    """Items by their callers, in the order in which they are to be served.

    A sorted list: what comes in stands near its end, and looking far ahead, as calls do, moves nothing.
    """

    def __init__(self) -> None:
        self._sorted: list[Waiting[T]] = []
        self._taken = 0
        self._ends: dict[str, float] = {}
        self._now = 0.0
        self._places = count()

    def __len__(self) -> int:
        return len(self._sorted) - self._taken

    def __iter__(self) -> Iterator[T]:
        return (waiting.item for waiting in self._sorted[self._taken :])

    @property
    def first(self) -> T:
        """What is next. Raises IndexError where nothing waits."""
        return self._sorted[self._taken].item

    def add(self, item: T, caller: str, cost: float) -> None:
        """``cost`` in tokens."""
        if len(self._ends) >= REMEMBERED:
            self._forget()
        start = max(self._now, self._ends.get(caller, 0.0))
        self._ends[caller] = start + cost
        insort(self._sorted, Waiting(start, next(self._places), item), lo=self._taken)

    def take(self) -> Waiting[T]:
        """What is next; it is out of the queue once ``give_back`` was called. Raises IndexError where nothing waits."""
        waiting = self._sorted[self._taken]
        self._taken += 1
        return waiting

    def give_back(self, passed: Sequence[Waiting[T]]) -> None:
        """Of what was taken, what is not served, in the order in which it was taken: it stands where it stood."""
        self._sorted[: self._taken] = passed
        self._taken = 0

    def serve(self, waiting: Waiting[T]) -> None:
        """It is being served: whoever comes now begins no earlier. Where nothing waits, nobody is behind."""
        self._now = max(self._now, waiting.start)
        if not len(self):
            self._ends.clear()

    def _forget(self) -> None:
        """Of more callers than are remembered, those who asked for most stay, for they have most to wait for."""
        behind = sorted(((end, name) for name, end in self._ends.items() if end > self._now), reverse=True)
        self._ends = {name: end for end, name in behind[: REMEMBERED // 2]}
