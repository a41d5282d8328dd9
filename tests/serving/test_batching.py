"""Rows on their way to the dispatcher, which a stand-in takes the place of; the real one is in ``tests/e2e``."""

import asyncio
from typing import Any

import pytest
from bentoml.exceptions import ServiceUnavailable

from serving.batching import INFER, SharedBatcher
from serving.errors import Overloaded


class Factory:
    """Answers each row with its first id, and remembers what came."""

    def __init__(self) -> None:
        self.calls: list[list[list[int]]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def batch_infer(self, name: str, arguments: tuple[list[list[int]]], keywords: dict[str, Any]) -> list[float]:
        assert (name, keywords) == (INFER, {})
        (rows,) = arguments
        self.calls.append(rows)
        await self.gate.wait()
        if self.error:
            raise self.error
        return [float(row[0]) for row in rows]


def batcher(factory: Factory) -> SharedBatcher:
    return SharedBatcher(factory, max_batch_size=4, max_queue_rows=10)


async def test_many_rows_go_a_batch_at_a_time_and_come_back_in_order() -> None:
    factory = Factory()
    assert await batcher(factory).positive([[number] for number in range(10)]) == [float(n) for n in range(10)]
    assert [len(rows) for rows in factory.calls] == [4, 4, 2]


async def test_a_queue_that_is_full_refuses_at_once_and_empties_again() -> None:
    factory = Factory()
    shared = batcher(factory)
    factory.gate.clear()
    waiting = asyncio.create_task(shared.positive([[1]] * 8))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="8 of 10 places in the queue are taken"):
        await shared.positive([[1]] * 3)
    factory.gate.set()
    assert len(await waiting) == 8
    assert len(await shared.positive([[1]] * 10)) == 10


async def test_what_the_dispatcher_drops_is_overload_and_frees_its_place() -> None:
    factory = Factory()
    shared = batcher(factory)
    factory.error = ServiceUnavailable("process is overloaded")
    with pytest.raises(Overloaded, match="waited too long"):
        await shared.positive([[1]] * 10)
    factory.error = None
    assert len(await shared.positive([[1]] * 10)) == 10
