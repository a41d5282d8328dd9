"""Rows on their way to the dispatcher, which a stand-in takes the place of; and the dispatcher's policy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from bentoml._internal.marshal.dispatcher import CorkDispatcher
from bentoml.exceptions import ServiceUnavailable
from prometheus_client import CollectorRegistry

from serving.batching import INFER, Inference, Piece, Pieces, ReadyDispatcher, Rows, SharedBatcher
from serving.engine import Layout
from serving.engine.schedule import Cut
from serving.errors import Overloaded, RequestInvalid
from serving.fairness import CALLER
from serving.model import Model
from serving.telemetry.metrics import Metrics

Call = Callable[[Pieces], Awaitable[list[float] | None]]


@dataclass
class StandInEngine:
    layout: Layout


ANY_SHAPE = Cut(batch_tokens=100, call_tokens=100)


@dataclass
class StandInSchedule:
    """How a model wants its calls: so many at a time, so large."""

    streams: int = 1
    cut: Cut = ANY_SHAPE

    @property
    def engine(self) -> StandInEngine:
        return StandInEngine(Layout(self.streams))


def model_with(schedule: StandInSchedule) -> Any:
    """All that the batcher asks of a model."""
    return SimpleNamespace(runner=SimpleNamespace(schedule=schedule))


class Device:
    """A model that takes its time, behind a dispatcher."""

    def __init__(
        self, metrics: Metrics, schedule: StandInSchedule | None = None, *, max_latency_ms: int = 5_000
    ) -> None:
        def fallback() -> NoReturn:
            raise ServiceUnavailable("process is overloaded")

        stock: CorkDispatcher[Pieces, list[float]] = CorkDispatcher(
            max_latency_ms, 6, fallback=fallback, get_batch_size=len, batch_dim=(0, 0)
        )
        self.dispatcher = ReadyDispatcher(stock, metrics)
        self.model = model_with(schedule or StandInSchedule())
        self.batches: list[list[Rows]] = []
        self.busy_s = 0.05
        self.streams = asyncio.Semaphore(self.model.runner.schedule.engine.layout.streams)
        self.busy = self.most_busy = 0
        self.error: Exception | None = None
        self.call: Call = self.dispatcher(self._infer)

    async def _infer(self, calls: Sequence[Pieces]) -> list[list[float]]:
        assert len({id(piece.model) for pieces in calls for piece in pieces}) == 1, "one model a call"
        jobs = [[piece.ids for piece in pieces] for pieces in calls]
        self.batches.append(jobs)
        async with self.streams:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            await asyncio.sleep(self.busy_s * (2.0 if any(len(row) > 50 for rows in jobs for row in rows) else 1.0))
            self.busy -= 1
        if self.error is not None:
            raise self.error
        return [[float(row[0]) for row in rows] for rows in jobs]

    def send(self, *rows: list[int], model: Model | None = None) -> "asyncio.Task[list[float] | None]":
        return asyncio.ensure_future(self.call([Piece(model or self.model, row) for row in rows]))

    def shapes(self) -> list[list[int]]:
        """Rows of each job of each call."""
        return [[len(job) for job in batch] for batch in self.batches]

    # what an application factory is to ``SharedBatcher``
    @property
    def dispatchers(self) -> dict[str, ReadyDispatcher]:
        return {INFER: self.dispatcher}

    async def batch_infer(self, name: str, arguments: tuple[Pieces], keywords: dict[str, Any]) -> list[float] | None:
        assert (name, keywords) == (INFER, {})
        return await self.call(arguments[0])


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


async def test_calls_are_bounded_in_tokens(metrics: Metrics) -> None:
    device = Device(metrics, StandInSchedule(cut=Cut(batch_tokens=10, call_tokens=10)))
    tasks = [device.send([1]), *(device.send([number] * 4) for number in range(4)), device.send([7] * 40)]
    await asyncio.gather(*tasks)
    lengths = [[len(row) for rows in batch for row in rows] for batch in device.batches]
    assert lengths == [[1, 4], [4, 4], [4], [40]], "with padding at most ten, and a longer row alone"
    device.dispatcher.shutdown()


async def test_a_call_is_whoever_waited_longest_and_rows_of_its_length(metrics: Metrics) -> None:
    device = Device(metrics, StandInSchedule(cut=Cut(batch_tokens=100, call_tokens=0)))
    await asyncio.gather(*(device.send([1] * length) for length in (3, 5, 3, 4, 5)))
    assert [[len(row) for rows in batch for row in rows] for batch in device.batches] == [[3, 3], [5, 5], [4]]
    device.dispatcher.shutdown()


async def test_each_stream_takes_the_next_call_without_waiting_for_the_others(metrics: Metrics) -> None:
    device = Device(metrics, StandInSchedule(streams=2, cut=Cut(batch_tokens=100, call_tokens=0)))
    loop = asyncio.get_running_loop()
    ended: dict[int, float] = {}

    async def one(length: int) -> None:
        await device.send([1] * length)
        ended[length] = loop.time()

    started = loop.time()
    await asyncio.gather(*(one(length) for length in (60, 3, 4)))
    assert device.most_busy == 2
    assert ended[4] - started < 0.14, "beside the long one, which takes 0.1 s, after the short one"
    assert ended[60] - started < 0.14
    device.dispatcher.shutdown()


async def test_rows_whose_callers_left_are_not_inferred(device: Device, registry: CollectorRegistry) -> None:
    at_work = device.send([1])
    await asyncio.sleep(0.01)
    at_hand = device.send([4])
    await asyncio.sleep(0.01)
    leaving, staying = device.send([2], [2]), device.send([3])
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert [await at_work, await at_hand, await staying] == [[1.0], [4.0], [3.0]]
    assert device.batches == [[[[1]]], [[[4]]], [[[3]]]]
    assert registry.get_sample_value("sentiment_abandoned_rows_total") == 2


async def test_what_waited_too_long_is_refused(metrics: Metrics) -> None:
    device = Device(metrics, max_latency_ms=20)
    first = device.send([1])
    await asyncio.sleep(0.01)
    second = device.send([2])
    await asyncio.sleep(0.01)
    late = device.send([3])
    assert [await first, await second] == [[1.0], [2.0]]
    with pytest.raises(ServiceUnavailable):
        await late
    device.dispatcher.shutdown()


async def test_an_error_reaches_all_of_its_batch_and_no_other(device: Device) -> None:
    device.error = RuntimeError("the device failed")
    results = await asyncio.gather(device.send([1]), device.send([2]), return_exceptions=True)
    assert all(isinstance(result, RuntimeError) for result in results)
    device.error = None
    assert await device.send([3]) == [3.0]


async def test_models_beside_each_other_share_streams_but_no_call(metrics: Metrics) -> None:
    device = Device(metrics)
    other = model_with(StandInSchedule())
    await asyncio.gather(
        device.send([1]), device.send([2], model=other), device.send([3]), device.send([4], model=other)
    )
    assert device.batches == [[[[1]], [[3]]], [[[2]], [[4]]]]
    assert device.most_busy == 1
    device.dispatcher.shutdown()


async def test_waiting_is_measured(device: Device, registry: CollectorRegistry) -> None:
    await asyncio.gather(device.send([1, 1]), device.send([2, 2, 2], [2]))
    assert registry.get_sample_value("sentiment_part_seconds_count", {"part": "queue"}) == 2


async def test_a_call_is_run_on_a_thread_measured_and_told_of(
    model: Model, metrics: Metrics, registry: CollectorRegistry
) -> None:
    seen: list[tuple[Model, int, float]] = []
    inference = Inference(metrics, lambda *what: seen.append(what))
    rows = model.bundle.encoder.encode(["좋아요", "별로"])
    alone = [float(model.positive([row])[0]) for row in rows]
    assert await inference([Piece(model, row) for row in rows]) == pytest.approx(alone, abs=1e-6)
    inference.close()
    ((whose, tokens, seconds),) = seen
    assert (whose, tokens) == (model, sum(map(len, rows)))
    value = partial(registry.get_sample_value)
    assert (value("sentiment_batch_rows_count"), value("sentiment_batch_rows_sum")) == (1, 2)
    assert value("sentiment_batch_tokens_sum") == tokens
    assert value("sentiment_part_seconds_sum", {"part": "inference"}) == pytest.approx(seconds)


@pytest.fixture
def batcher(device: Device, metrics: Metrics) -> SharedBatcher:
    device.busy_s = 0.0
    device.model = model_with(StandInSchedule(cut=Cut(batch_tokens=8, call_tokens=8)))
    factory: Any = device
    return SharedBatcher(factory, metrics, max_queue_tokens=200)


async def test_many_rows_go_in_parts_and_come_back_in_order(device: Device, batcher: SharedBatcher) -> None:
    assert await batcher.positive(device.model, [[number] for number in range(20)]) == [float(n) for n in range(20)]
    assert sum(map(sum, device.shapes())) == 20
    assert max(map(sum, device.shapes())) <= 6, "six rows a call are allowed"


async def test_a_part_is_bounded_in_tokens_and_a_longer_row_is_alone(device: Device, batcher: SharedBatcher) -> None:
    rows = [[number] * length for number, length in enumerate([4, 4, 1, 9])]
    assert await batcher.positive(device.model, rows) == [0.0, 1.0, 2.0, 3.0]
    lengths = [[len(row) for rows in batch for row in rows] for batch in device.batches]
    assert lengths[0] == [9], "the longest begins"
    assert all(len(call) * max(call) <= 8 for call in lengths[1:])


async def test_others_rows_come_between_the_parts_of_one_request(device: Device, batcher: SharedBatcher) -> None:
    device.busy_s = 0.002
    batcher._max_queue_tokens = 10_000
    many = asyncio.create_task(batcher.positive(device.model, [[1] * 8] * 500))
    await asyncio.sleep(0.02)
    await batcher.positive(device.model, [[2] * 8])
    assert not many.done()
    assert len(device.batches) < 200, "not behind all that the other request still has"
    assert await many == [1.0] * 500


async def test_a_queue_that_is_full_refuses_at_once_and_empties_again(
    device: Device, batcher: SharedBatcher, registry: CollectorRegistry
) -> None:
    device.busy_s = 0.05
    waiting = asyncio.create_task(batcher.positive(device.model, [[1, 2]] * 80))
    await asyncio.sleep(0)
    assert registry.get_sample_value("sentiment_queue_tokens") == 160
    with pytest.raises(Overloaded, match="160 of 200 tokens of the queue are taken; 60 more do not fit"):
        await batcher.positive(device.model, [[1, 2]] * 30)
    device.busy_s = 0.0
    assert len(await waiting) == 80
    assert registry.get_sample_value("sentiment_queue_tokens") == 0
    assert len(await batcher.positive(device.model, [[1, 2]] * 100)) == 100


async def test_what_never_fits_is_the_callers_error(device: Device, batcher: SharedBatcher) -> None:
    with pytest.raises(RequestInvalid, match="the texts hold 210 tokens; at most 200 are allowed"):
        await batcher.positive(device.model, [[1] * 7] * 30)
    assert not device.batches


@pytest.mark.parametrize("rows", [1, 10])
async def test_what_the_dispatcher_drops_is_overload_and_frees_its_place(
    device: Device, batcher: SharedBatcher, rows: int
) -> None:
    device.error = ServiceUnavailable("process is overloaded")
    with pytest.raises(Overloaded, match="waited too long"):
        await batcher.positive(device.model, [[1, 2]] * rows)
    device.error = None
    assert len(await batcher.positive(device.model, [[1, 2]] * 100)) == 100


async def test_a_caller_that_leaves_takes_its_parts_along(
    device: Device, batcher: SharedBatcher, registry: CollectorRegistry
) -> None:
    device.busy_s = 0.05
    leaving = asyncio.create_task(batcher.positive(device.model, [[1] * 8] * 10))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await batcher.positive(device.model, [[2]]) == [2.0]
    assert len(device.batches) == 3, "the one at work, the one at hand, and the next caller's"
    assert registry.get_sample_value("sentiment_abandoned_rows_total") == 8
    assert registry.get_sample_value("sentiment_queue_tokens") == 0


async def asked(batcher: SharedBatcher, device: Device, caller: str, rows: Rows) -> list[float]:
    token = CALLER.set(caller)
    try:
        return await batcher.positive(device.model, rows)
    finally:
        CALLER.reset(token)


def expected(batcher: SharedBatcher, caller: str, rows: int) -> None:
    token = CALLER.set(caller)
    try:
        batcher.expect(rows)
    finally:
        CALLER.reset(token)


async def test_a_flood_of_one_caller_leaves_others_their_turn(metrics: Metrics, device: Device) -> None:
    batcher = SharedBatcher(device, metrics, max_queue_tokens=10_000)
    device.busy_s = 0.01
    flood = [asyncio.create_task(asked(batcher, device, "flood", [[7] * 20])) for _ in range(40)]
    await asyncio.sleep(0.01)
    before = len(device.batches)
    assert await asked(batcher, device, "other", [[1] * 20]) == [1.0]
    assert len(device.batches) - before <= 2, "what was at hand, and its turn"
    await asyncio.gather(*flood)


async def test_who_would_wait_too_long_is_refused_at_once_and_who_asks_little_is_not(
    metrics: Metrics, device: Device, registry: CollectorRegistry
) -> None:
    device.model = model_with(StandInSchedule(cut=Cut(batch_tokens=200, call_tokens=200)))
    batcher = SharedBatcher(device, metrics, max_queue_tokens=100_000)
    device.busy_s = 0.01
    await asked(batcher, device, "flood", [[7] * 20] * 500)
    pace = device.dispatcher.pace.tokens_per_s
    assert pace == pytest.approx(120 / 0.011, rel=0.3), "six rows of 20 in each call"
    assert registry.get_sample_value("sentiment_queue_limit_tokens") == pytest.approx(2.5 * pace, rel=0.2)
    assert batcher.load == 0.0

    flood = [asyncio.create_task(asked(batcher, device, "flood", [[7] * 20] * 500)) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert batcher.load > 1.0
    began = asyncio.get_running_loop().time()
    with pytest.raises(Overloaded, match=r"work of \d\.\d s is ahead of this request; at most 2\.5 s may be"):
        await asked(batcher, device, "flood", [[7] * 20])
    assert asyncio.get_running_loop().time() - began < 0.05
    with pytest.raises(Overloaded, match="is ahead of this request"):
        expected(batcher, "flood", 1)
    expected(batcher, "other", 1)
    assert await asked(batcher, device, "other", [[1] * 20]) == [1.0]
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert batcher.load == 0.0


async def test_one_caller_leaves_room_in_the_queue_for_others(metrics: Metrics, device: Device) -> None:
    batcher = SharedBatcher(device, metrics, max_queue_tokens=100)
    first = asyncio.create_task(asked(batcher, device, "flood", [[7] * 40]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="40 tokens of this caller wait; 20 more would leave others no room"):
        await asked(batcher, device, "flood", [[7] * 20])
    assert await asked(batcher, device, "other", [[1] * 60]) == [1.0]
    assert await first == [7.0]
    assert await asked(batcher, device, "flood", [[7] * 90]) == [7.0], "what a caller asks first may be larger"
    assert not batcher._of
