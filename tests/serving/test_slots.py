"""Who is answered by whom, what is mirrored, and what is made of a model that fails."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from data.errors import EmptyText
from serving.cache import TieredCache
from serving.errors import EngineFailed, Overloaded
from serving.model import Model
from serving.sentiment import Sentiment
from serving.slots import MIRRORS, Slots, bucket
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import DirectBatcher

OLD, NEW = "m:1", "m:2"
TEXTS = ["정말 재미있어요", "최악", "그냥 그래요"]


class Pair:
    """Two models of the same bundle under two tags, each behind a batcher of its own."""

    def __init__(self, model: Model, metrics: Metrics) -> None:
        cache = TieredCache(0, metrics)
        self.batchers = {tag: DirectBatcher(model) for tag in (OLD, NEW)}
        self.models = {tag: replace(model, tag=tag) for tag in (OLD, NEW)}
        self.sentiments = {tag: Sentiment(self.models[tag], self.batchers[tag], cache, metrics) for tag in (OLD, NEW)}
        self.load = 0.0
        self.slots = Slots(self.sentiments[OLD], lambda: self.load)

    def show(self, weight: float = 0.0, shadow: float = 0.0, *, promoted: bool = False) -> None:
        live, other = (NEW, OLD) if promoted else (OLD, NEW)
        self.slots.show(self.sentiments[live], self.sentiments[other], weight, shadow, promoted=promoted)

    async def settled(self) -> Counter[str]:
        await asyncio.gather(*self.slots._mirrors)
        return self.slots.observed.counts


@pytest.fixture
def pair(model: Model, metrics: Metrics) -> Pair:
    return Pair(model, metrics)


def answered_by(pair: Pair, caller: str) -> str:
    return pair.slots.turn(caller).model.tag


def test_the_share_is_as_asked_and_a_caller_never_flips_back_while_it_grows(pair: Pair) -> None:
    callers = [f"caller-{number}" for number in range(4_000)]
    moved: set[str] = set()
    for weight in (0, 1, 10, 50, 100):
        pair.show(weight=weight)
        now = {caller for caller in callers if answered_by(pair, caller) == NEW}
        assert moved <= now
        share, deviation = weight / 100, (weight / 100 * (1 - weight / 100) / 4_000) ** 0.5
        assert abs(len(now) / 4_000 - share) <= 4 * deviation
        moved = now


def test_another_model_has_other_callers_first() -> None:
    places = [(bucket(OLD, str(caller)), bucket(NEW, str(caller))) for caller in range(1_000)]
    both = sum(one < 0.1 and another < 0.1 for one, another in places)
    assert both < 30, "ten of a thousand by chance"


async def test_a_request_ends_on_the_model_that_it_began_with(pair: Pair) -> None:
    turn = pair.slots.turn("a")
    pair.show(promoted=True)
    assert turn.model.tag == OLD
    await turn.analyze(TEXTS)
    assert (len(pair.batchers[OLD].calls), len(pair.batchers[NEW].calls)) == (1, 0)
    assert pair.slots.turn("a").model.tag == NEW


@pytest.mark.parametrize("promoted", [False, True])
async def test_mirrored_requests_are_judged_by_both_and_counted_in_pairs(
    pair: Pair, registry: CollectorRegistry, promoted: bool
) -> None:
    pair.show(shadow=100, promoted=promoted)
    turn = pair.slots.turn("a")
    answers = await turn.analyze(TEXTS)
    counts = await pair.settled()
    assert len(answers) == 3
    assert (counts["pairs"], counts["disagreements"], counts["shift"]) == (3, 0, 0)
    assert (counts["new_answers"], counts["old_answers"]) == ((3, 0) if promoted else (0, 3))
    assert len(pair.batchers[OLD].calls) == len(pair.batchers[NEW].calls) == 1
    given = sum(
        registry.get_sample_value("sentiment_answers_total", {"sentiment": name}) or 0
        for name in ("긍정", "부정", "중립")
    )
    assert given == 3, "what was mirrored is no answer"
    assert registry.get_sample_value("sentiment_model_answers_total", {"model_tag": turn.model.tag}) == 3


async def test_without_a_share_nothing_is_mirrored(pair: Pair) -> None:
    pair.show()
    await pair.slots.turn("a").analyze(TEXTS)
    assert "pairs" not in await pair.settled()
    pair.show(shadow=30)
    for number in range(200):
        await pair.slots.turn("a").analyze([f"좋아요 {number}"])
        await pair.settled()
    assert 30 <= (await pair.settled())["pairs"] <= 90


async def test_mirroring_stands_back_where_there_is_much_to_do(pair: Pair) -> None:
    pair.show(shadow=100)
    pair.load = 0.5
    await pair.slots.turn("a").analyze(TEXTS)
    assert "pairs" not in await pair.settled()
    pair.load, pair.batchers[NEW].delay_s = 0.0, 0.2
    for number in range(2 * MIRRORS):
        await pair.slots.turn("a").analyze([f"좋아요 {number}"])
    assert len(pair.slots._mirrors) == MIRRORS
    assert (await pair.settled())["pairs"] == MIRRORS


async def test_where_the_new_model_fails_callers_are_answered_by_the_old_one(pair: Pair) -> None:
    pair.show(weight=100)
    pair.batchers[NEW].error = EngineFailed("the device is gone")
    turn = pair.slots.turn("a")
    assert turn.model.tag == NEW
    assert len(await turn.analyze(TEXTS)) == 3
    assert turn.model.tag == OLD, "who answered says so"
    assert pair.slots.observed.counts["new_errors"] == 3


async def test_a_mirrored_failure_is_counted_and_nobody_hears_of_it(pair: Pair) -> None:
    pair.show(shadow=100)
    for error, errors in ((EngineFailed("gone"), 3), (RuntimeError("odd"), 6), (Overloaded("full"), 6)):
        pair.batchers[NEW].error = error
        assert len(await pair.slots.turn("a").analyze(TEXTS)) == 3
        assert (await pair.settled())["new_errors"] == errors


async def test_errors_of_callers_are_nobodys_fault(pair: Pair) -> None:
    pair.show(weight=100, shadow=100)
    with pytest.raises(EmptyText):
        await pair.slots.turn("a").analyze(["<br>"])
    pair.batchers[NEW].error = Overloaded("full")
    with pytest.raises(Overloaded):
        await pair.slots.turn("a").analyze(TEXTS)
    assert not pair.slots.observed.counts


async def test_the_live_model_alone_fails_as_before(pair: Pair) -> None:
    pair.batchers[OLD].error = EngineFailed("gone")
    with pytest.raises(EngineFailed):
        await pair.slots.turn("a").analyze(TEXTS)


@pytest.mark.parametrize("promoted", [False, True])
def test_calls_are_counted_for_the_model_that_they_were_for(pair: Pair, model: Model, promoted: bool) -> None:
    pair.show(promoted=promoted)
    pair.slots.inferred(pair.models[OLD], 10, 0.1)
    pair.slots.inferred(pair.models[NEW], 20, 0.4)
    pair.slots.inferred(model, 1_000, 1.0)  # of a trial that is over
    assert pair.slots.observed.counts == {"old_tokens": 10, "old_seconds": 0.1, "new_tokens": 20, "new_seconds": 0.4}
