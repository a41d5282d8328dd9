"""Rows on their way to the dispatcher, which a stand-in takes the place of; and the dispatcher's policy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import pytest
from bentoml._internal.marshal.dispatcher import CorkDispatcher
from bentoml.exceptions import ServiceUnavailable
from prometheus_client import CollectorRegistry

from serving.batching import INFER, ReadyDispatcher, Rows, SharedBatcher
from serving.errors import Overloaded, RequestInvalid
from serving.telemetry.metrics import Metrics


class Factory:
    """Answers each row with its first id, and remembers what came."""

    def __init__(self) -> None:
        self.calls: list[Rows] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def batch_infer(self, name: str, arguments: tuple[Rows], keywords: dict[str, Any]) -> list[float]:
        assert (name, keywords) == (INFER, {})
        (rows,) = arguments
        self.calls.append(rows)
        await self.gate.wait()
        if self.error:
            raise self.error
        return [float(row[0]) for row in rows]


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def batcher(factory: Factory, metrics: Metrics) -> SharedBatcher:
    return SharedBatcher(factory, metrics, max_batch_size=4, max_batch_tokens=8, max_queue_tokens=20)


async def test_many_rows_go_a_batch_at_a_time_and_come_back_in_order(factory: Factory, batcher: SharedBatcher) -> None:
    assert await batcher.positive([[number] for number in range(10)]) == [float(n) for n in range(10)]
    assert [len(rows) for rows in factory.calls] == [4, 4, 2]


async def test_a_batch_is_bounded_in_tokens_and_a_longer_row_is_alone(factory: Factory, batcher: SharedBatcher) -> None:
    rows = [[number] * length for number, length in enumerate([4, 4, 1, 9])]
    assert await batcher.positive(rows) == [0.0, 1.0, 2.0, 3.0]
    assert [[len(row) for row in call] for call in factory.calls] == [[4, 4], [1], [9]]


async def test_a_queue_that_is_full_refuses_at_once_and_empties_again(
    factory: Factory, batcher: SharedBatcher, registry: CollectorRegistry
) -> None:
    factory.gate.clear()
    waiting = asyncio.create_task(batcher.positive([[1, 2]] * 8))
    await asyncio.sleep(0)
    assert registry.get_sample_value("sentiment_queue_tokens") == 16
    with pytest.raises(Overloaded, match="16 of 20 tokens of the queue are taken; 6 more do not fit"):
        await batcher.positive([[1, 2]] * 3)
    factory.gate.set()
    assert len(await waiting) == 8
    assert registry.get_sample_value("sentiment_queue_tokens") == 0
    assert len(await batcher.positive([[1, 2]] * 10)) == 10


async def test_what_never_fits_is_the_callers_error(factory: Factory, batcher: SharedBatcher) -> None:
    with pytest.raises(RequestInvalid, match="the texts hold 21 tokens; at most 20 are allowed"):
        await batcher.positive([[1] * 7] * 3)
    assert not factory.calls


async def test_what_the_dispatcher_drops_is_overload_and_frees_its_place(
    factory: Factory, batcher: SharedBatcher
) -> None:
    factory.error = ServiceUnavailable("process is overloaded")
    with pytest.raises(Overloaded, match="waited too long"):
        await batcher.positive([[1, 2]] * 10)
    factory.error = None
    assert len(await batcher.positive([[1, 2]] * 10)) == 10


Call = Callable[[Rows], Awaitable[list[float] | None]]


class Device:
    """A model that takes its time, behind a dispatcher."""

    def __init__(self, metrics: Metrics, *, max_latency_ms: int = 5_000, max_batch_tokens: int = 100) -> None:
        def fallback() -> NoReturn:
            raise ServiceUnavailable("process is overloaded")

        stock: CorkDispatcher[Rows, list[float]] = CorkDispatcher(
            max_latency_ms, 6, fallback=fallback, get_batch_size=len, batch_dim=(0, 0)
        )
        self.dispatcher = ReadyDispatcher(stock, max_batch_tokens, metrics)
        self.batches: list[list[Rows]] = []
        self.busy_s = 0.05
        self.error: Exception | None = None
        self.call: Call = self.dispatcher(self._infer)

    async def _infer(self, jobs: Sequence[Rows]) -> list[list[float]]:
        self.batches.append(list(jobs))
        await asyncio.sleep(self.busy_s)
        if self.error is not None:
            raise self.error
        return [[float(row[0]) for row in rows] for rows in jobs]

    def send(self, *rows: list[int]) -> "asyncio.Task[list[float] | None]":
        return asyncio.ensure_future(self.call(list(rows)))

    def shapes(self) -> list[list[int]]:
        """Rows of each job of each batch."""
        return [[len(job) for job in batch] for batch in self.batches]


@pytest.fixture
async def device(metrics: Metrics) -> Any:
    device = Device(metrics)
    yield device
    device.dispatcher.shutdown()


async def test_a_lone_caller_does_not_wait_and_rows_gather_while_the_model_is_busy(device: Device) -> None:
    loop = asyncio.get_running_loop()
    first = device.send([1])
    await asyncio.sleep(0.01)
    rest = [device.send([number], [number]) for number in range(2, 6)]
    started = loop.time()
    assert await asyncio.gather(first, *rest) == [[1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [5.0, 5.0]]
    assert device.shapes() == [[1], [2, 2, 2], [2]], "six rows a batch, whoever sent them"
    assert loop.time() - started < 0.3
    device.busy_s = 0.0
    started = loop.time()
    await device.send([9])
    assert loop.time() - started < 0.04


async def test_batches_are_bounded_in_tokens(metrics: Metrics) -> None:
    device = Device(metrics, max_batch_tokens=10)
    tasks = [device.send([1]), *(device.send([number] * 4) for number in range(4)), device.send([7] * 40)]
    await asyncio.gather(*tasks)
    assert all(len(batch) == 1 or sum(len(rows[0]) for rows in batch) <= 10 for batch in device.batches)
    assert [[7] * 40] in [rows for batch in device.batches for rows in batch]
    assert len(device.batches) == 3
    device.dispatcher.shutdown()


async def test_rows_whose_callers_left_are_not_inferred(device: Device, registry: CollectorRegistry) -> None:
    first = device.send([1])
    await asyncio.sleep(0.01)
    leaving, staying = device.send([2], [2]), device.send([3])
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert [await first, await staying] == [[1.0], [3.0]]
    assert device.batches == [[[[1]]], [[[3]]]]
    assert registry.get_sample_value("sentiment_abandoned_rows_total") == 2


async def test_what_waited_too_long_is_refused(metrics: Metrics) -> None:
    device = Device(metrics, max_latency_ms=20)
    first, late = device.send([1]), None
    await asyncio.sleep(0.01)
    late = device.send([2])
    assert await first == [1.0]
    with pytest.raises(ServiceUnavailable):
        await late
    device.dispatcher.shutdown()


async def test_an_error_reaches_all_of_its_batch_and_no_other(device: Device) -> None:
    device.error = RuntimeError("the device failed")
    results = await asyncio.gather(device.send([1]), device.send([2]), return_exceptions=True)
    assert all(isinstance(result, RuntimeError) for result in results)
    device.error = None
    assert await device.send([3]) == [3.0]


async def test_batches_and_waiting_are_measured(device: Device, registry: CollectorRegistry) -> None:
    await asyncio.gather(device.send([1, 1]), device.send([2, 2, 2], [2]))
    value = partial(registry.get_sample_value)
    assert (value("sentiment_batch_rows_count"), value("sentiment_batch_rows_sum")) == (1, 3)
    assert value("sentiment_batch_tokens_sum") == 6
    inference = value("sentiment_part_seconds_sum", {"part": "inference"})
    assert inference is not None
    assert 0.04 < inference < 0.5
    assert value("sentiment_part_seconds_count", {"part": "queue"}) == 2
