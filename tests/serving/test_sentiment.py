import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from data.encode import Encoder
from data.errors import EmptyText, TextTooLong
from serving.cache import TieredCache
from serving.errors import Overloaded
from serving.model import Model
from serving.sentiment import Sentiment
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import DirectBatcher


async def test_answers_are_the_models_and_in_order(sentiment: Sentiment, model: Model) -> None:
    texts = ["정말 재미있어요", "지루하다", "그냥 그래요"]
    answers = await sentiment.analyze(texts)
    expected = model.positive(model.bundle.encoder.encode(texts))
    assert [answer.verdict.positive for answer in answers] == pytest.approx(expected.tolist(), abs=1e-6)
    assert len({answer.verdict.positive for answer in answers}) == 3


async def test_raw_and_cleaned_text_are_one(sentiment: Sentiment, batcher: DirectBatcher) -> None:
    first, second = await sentiment.analyze(["정말 <b>재미</b>있어요", "정말  재미있어요\u200b"])
    assert first == second
    assert len(batcher.calls[0]) == 1, "a batch infers a text once"


async def test_the_second_time_comes_from_the_cache(sentiment: Sentiment, batcher: DirectBatcher) -> None:
    (before,) = await sentiment.analyze(["최고"])
    again, new = await sentiment.analyze(["최고", "노잼"])
    assert (before.cached, again.cached, new.cached) == (False, True, False)
    assert again.verdict == before.verdict
    assert [len(rows) for rows in batcher.calls] == [1, 1]


async def test_many_at_once_for_one_text_cause_one_inference(sentiment: Sentiment, batcher: DirectBatcher) -> None:
    batcher.delay_s = 0.05
    answers = await asyncio.gather(*(sentiment.analyze(["최고"]) for _ in range(1_000)))
    assert len(batcher.calls) == 1
    assert len({answer.verdict.positive for (answer,) in answers}) == 1


async def test_a_caller_that_leaves_does_not_take_the_others_answers(
    sentiment: Sentiment, batcher: DirectBatcher
) -> None:
    batcher.delay_s = 0.05
    first = asyncio.create_task(sentiment.analyze(["최고"]))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(sentiment.analyze(["최고"]))
    await asyncio.sleep(0.01)
    first.cancel()
    (answer,) = await second
    assert 0.0 < answer.verdict.positive < 1.0
    assert len(batcher.calls) == 1


async def test_errors_reach_everyone_who_waits_and_are_not_kept(sentiment: Sentiment, batcher: DirectBatcher) -> None:
    batcher.delay_s, batcher.error = 0.02, Overloaded("full")
    results = await asyncio.gather(*(sentiment.analyze(["최고"]) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, Overloaded) for result in results)
    batcher.error = None
    (answer,) = await sentiment.analyze(["최고"])
    assert not answer.cached


@pytest.mark.parametrize(("bad", "error"), [("<br>", EmptyText), ("재미 " * 600, TextTooLong)])
async def test_a_bad_text_is_named_before_anything_is_inferred(
    sentiment: Sentiment, batcher: DirectBatcher, bad: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await sentiment.analyze(["최고", "노잼", bad, "굿"])
    assert caught.value.index == 2  # type: ignore[attr-defined]
    assert not batcher.calls


async def test_truncation_is_asked_for_and_cached_apart(sentiment: Sentiment) -> None:
    long = "재미 " * 600
    (answer,) = await sentiment.analyze([long], truncate=True)
    assert not answer.cached
    with pytest.raises(TextTooLong):
        await sentiment.analyze([long])


async def test_the_same_answer_alone_and_in_any_batch(sentiment: Sentiment, model: Model, metrics: Metrics) -> None:
    texts = [f"리뷰 {'정말 ' * (number % 17)}재미있어요 {number}" for number in range(60)]
    fresh = Sentiment(model, DirectBatcher(model), TieredCache(0, metrics), metrics)
    together = await sentiment.analyze(texts)
    alone = [(await fresh.analyze([text]))[0] for text in texts]
    differences = [abs(a.verdict.positive - b.verdict.positive) for a, b in zip(together, alone, strict=True)]
    assert max(differences) < 1e-5


async def test_closing_waits_for_what_is_under_way(sentiment: Sentiment, batcher: DirectBatcher) -> None:
    batcher.delay_s = 0.05
    caller = asyncio.create_task(sentiment.analyze(["최고"]))
    await asyncio.sleep(0.01)
    await sentiment.close()
    assert (await caller)[0].verdict.positive > 0.0


async def test_many_texts_are_encoded_beside_the_loop(sentiment: Sentiment, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = type(sentiment.model.bundle.encoder).encode
    threads: list[bool] = []

    def slow(self: Encoder, texts: Sequence[str], *, truncate: bool = False) -> list[list[int]]:
        threads.append(threading.current_thread() is threading.main_thread())
        time.sleep(0.1)
        return encode(self, texts, truncate=truncate)

    monkeypatch.setattr(Encoder, "encode", slow)
    analysis = asyncio.create_task(sentiment.analyze([f"정말 재미있어요 {number}" for number in range(100)]))
    ticks = 0
    while not analysis.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert len(await analysis) == 100
    assert ticks > 5
    await sentiment.analyze(["짧다"])
    assert threads == [False, True]
