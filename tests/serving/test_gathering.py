"""Calls that are made together, against a call that takes as long as it is told to."""

import asyncio
from collections.abc import Sequence

import pytest

from serving.gathering import Gathering


class Side:
    """The other side: it doubles numbers, once it may."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.calls.append(items)
        await self.may.wait()
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]


@pytest.fixture
async def side() -> Side:
    return Side()


async def test_what_comes_while_one_is_under_way_goes_together(side: Side) -> None:
    double = Gathering(side, 100)
    tasks = [asyncio.create_task(double(items)) for items in ([1], [2, 3])]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(double(items)) for items in ([4], [5, 6], [7])]
    await asyncio.sleep(0.01)
    side.may.set()
    assert await asyncio.gather(*tasks) == [[2], [4, 6], [8], [10, 12], [14]]
    assert side.calls == [[1, 2, 3], [4, 5, 6, 7]]
    assert await double([8]) == [16], "and again, after nothing was to do"


async def test_a_call_is_bounded_but_for_what_one_caller_asks(side: Side) -> None:
    double, asked = Gathering(side, 3), ([1, 2], [3, 4], [5], [6, 7, 8, 9, 10], [11])
    side.may.set()
    found = await asyncio.gather(*(double(items) for items in asked))
    assert found == [[2 * item for item in items] for items in asked]
    assert side.calls == [[1, 2], [3, 4, 5], [6, 7, 8, 9, 10], [11]]


async def test_a_caller_that_leaves_takes_nothing_along(side: Side) -> None:
    double = Gathering(side, 100)
    tasks = [asyncio.create_task(double([number])) for number in range(3)]
    await asyncio.sleep(0.01)
    late = asyncio.create_task(double([3]))
    await asyncio.sleep(0.01)
    for task in (tasks[0], late):
        task.cancel()
    side.may.set()
    found = await asyncio.gather(*tasks, late, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:3] == [[2], [4]]
    assert side.calls == [[0, 1, 2]], "what nobody waits for any more is not asked"


async def test_what_goes_wrong_reaches_all_of_the_call_and_nobody_after(side: Side) -> None:
    double = Gathering(side, 100)
    side.error = RuntimeError("broken")
    side.may.set()
    with pytest.raises(RuntimeError, match="broken"):
        await double([1])
    side.error = None
    assert await double([2]) == [4]
