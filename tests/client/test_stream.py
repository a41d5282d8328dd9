"""``analyze_all`` of both clients: any length, in order, several requests at a time, and none that is left behind."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from nsmc_sentiment import AsyncSentimentClient, ConnectionFailed, RequestRejected, SentimentClient

from tests.client.conftest import QUICK, Connect
from tests.client.flaky_server import OVERLOADED, FlakyServer, Reply, problem


class Source:
    """Reviews without end; counts those that were taken."""

    def __init__(self, count: int | None = None) -> None:
        self.taken = 0
        self.threads: set[threading.Thread] = set()
        self._count = count

    def __iter__(self) -> Iterator[str]:
        for number in itertools.count() if self._count is None else range(self._count):
            self.taken += 1
            self.threads.add(threading.current_thread())
            yield f"리뷰 {number}"


@pytest.mark.parametrize(
    ("count", "batch_size", "concurrency"), [(0, 4, 3), (1, 4, 3), (12, 4, 3), (50, 4, 3), (7, 1, 1)]
)
def test_verdicts_come_in_order(
    connect: Connect, flaky: FlakyServer, count: int, batch_size: int, concurrency: int
) -> None:
    source = Source(count)
    verdicts = connect().analyze_all(source, batch_size=batch_size, concurrency=concurrency, probabilities=True)
    found = list(verdicts)
    assert [verdict.text for verdict in found] == [f"리뷰 {number}" for number in range(count)]
    assert all(verdict.probabilities for verdict in found)
    sizes = sorted(len(asked.body["texts"]) for asked in flaky.asked)
    assert sizes == sorted(len(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size))
    assert source.threads <= {threading.current_thread()}


def test_order_stays_where_later_requests_are_quicker(connect: Connect, flaky: FlakyServer) -> None:
    flaky.script += [Reply(delay_s=0.2), OVERLOADED, Reply(), Reply(reset=True)]
    found = [verdict.text for verdict in connect().analyze_all(Source(40), batch_size=4, concurrency=4)]
    assert found == [f"리뷰 {number}" for number in range(40)]
    assert len(flaky.asked) == 12


def test_several_requests_are_under_way_and_no_more(connect: Connect, flaky: FlakyServer) -> None:
    flaky.by_text = {f"리뷰 {first}": Reply(together=3) for first in (0, 4, 8)}
    flaky.always = Reply(delay_s=0.03)
    assert len(list(connect().analyze_all(Source(48), batch_size=4, concurrency=3))) == 48
    assert flaky.most_at_once == 3


def test_reviews_are_taken_as_verdicts_are(connect: Connect, flaky: FlakyServer) -> None:
    source = Source()
    verdicts = connect().analyze_all(source, batch_size=4, concurrency=3)
    assert source.taken == 0
    for number in range(1, 200):
        next(verdicts)
        assert source.taken <= number + 4 * 3
    verdicts.close()
    assert len(flaky.asked) <= source.taken // 4


def test_closing_cancels_what_is_under_way(connect: Connect, flaky: FlakyServer) -> None:
    flaky.by_text["리뷰 0"] = Reply(delay_s=0.1)
    flaky.always = Reply(delay_s=30.0)
    verdicts = connect().analyze_all(Source(), batch_size=2, concurrency=4)
    next(verdicts)
    flaky.wait(asked=4)
    verdicts.close()
    flaky.wait(left=3)
    assert len(flaky.asked) <= 5


def test_a_generator_that_is_dropped_is_closed(flaky: FlakyServer) -> None:
    flaky.by_text["리뷰 0"] = Reply(delay_s=0.1)
    flaky.always = Reply(delay_s=30.0)
    with SentimentClient(flaky.url) as client:
        for verdict in client.analyze_all(Source(), batch_size=2, concurrency=2):
            assert verdict.score == 0.75
            break
        flaky.wait(left=1)


def test_the_first_error_ends_it_and_says_which_review(connect: Connect, flaky: FlakyServer) -> None:
    flaky.by_text["리뷰 4"] = problem("empty-text", 422, "nothing to judge", field="texts[1]")
    flaky.by_text["리뷰 8"] = Reply(delay_s=30.0)
    verdicts = connect().analyze_all(Source(), batch_size=4, concurrency=2)
    found = []
    with pytest.raises(RequestRejected, match="nothing to judge") as caught:
        for verdict in verdicts:
            found.append(verdict.text)  # noqa: PERF401 - what came before the error counts
    assert found == [f"리뷰 {number}" for number in range(4)]
    assert (caught.value.index, caught.value.field) == (5, "texts[1]")


def test_requests_are_numbered(connect: Connect, flaky: FlakyServer) -> None:
    list(connect().analyze_all(Source(5), batch_size=2, concurrency=1, request_id="nightly"))
    assert flaky.ids() == ["nightly-0", "nightly-1", "nightly-2"]
    list(connect().analyze_all(Source(4), batch_size=2))
    assert len({*flaky.ids()[3:]} | {"nightly"}) == 3


def test_what_the_source_raises_is_the_callers(connect: Connect, flaky: FlakyServer) -> None:
    def broken() -> Iterator[str]:
        yield from ["굿"] * 8
        raise OSError("the disk is gone")

    flaky.script += [Reply()] * 2
    flaky.always = Reply(delay_s=30.0)
    with pytest.raises(OSError, match="the disk is gone"):
        list(connect().analyze_all(broken(), batch_size=2, concurrency=10))


def test_closing_while_connecting_leaves_nothing_behind(connect: Connect, flaky: FlakyServer) -> None:
    """What a library began for a request must be ended by it: cancelled by us, it warns, and warnings are errors."""

    def broken(after_s: float) -> Iterator[str]:
        yield from ["굿"] * 8
        time.sleep(after_s)
        raise OSError("the disk is gone")

    client = connect()
    for number in range(10):
        with pytest.raises(OSError, match="the disk is gone"):
            list(client.analyze_all(broken(number * 4e-4), batch_size=1, concurrency=20))


def test_all_batches_share_the_retry_budget(connect: Connect, flaky: FlakyServer) -> None:
    flaky.always = Reply(reset=True)
    client = connect()
    for _ in range(20):
        with pytest.raises(ConnectionFailed):
            list(client.analyze_all(["굿"]))
    assert len(flaky.asked) <= 20 + QUICK.budget_reserve + 2


async def test_an_asynchronous_source(flaky: FlakyServer) -> None:
    async def source() -> AsyncIterator[str]:
        for text in Source(10):
            await asyncio.sleep(0)
            yield text

    async with AsyncSentimentClient(flaky.url) as client:
        found = [verdict.text async for verdict in client.analyze_all(source(), batch_size=4, request_id="a")]
    assert found == [f"리뷰 {number}" for number in range(10)]
    assert sorted(flaky.ids()) == ["a-0", "a-1", "a-2"]


async def test_a_task_that_is_cancelled_takes_its_requests_with_it(flaky: FlakyServer) -> None:
    flaky.always = Reply(delay_s=30.0)

    async def consume() -> None:
        async with aclosing(client.analyze_all(Source(), batch_size=2, concurrency=3)) as verdicts:
            async for _ in verdicts:
                pass

    async with AsyncSentimentClient(flaky.url) as client:
        task = asyncio.create_task(consume())
        await asyncio.to_thread(flaky.wait, asked=3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(flaky.wait, left=3)
