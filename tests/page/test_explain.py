"""Weights of words: known ones come back, and those of a real model add up to its answer."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.attribution import WAYS, Remembering, Review, area, shapley
from data.labels import NeutralBand, Verdict
from data.probability import sigmoid
from serving.cache import ASK_AND_KEEP, Reuse
from serving.explain import LIMIT, explain, log_odds, shares, without_each, words
from serving.model import Model
from serving.sentiment import Answer

WEIGHTS = {"재미있고": 2.5, "배우가": 0.25, "지루한": -1.75, "영화": 0.0}


class Adding:
    """A judge whose log odds are the sum of its words' weights."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self.asked: list[str] = []

    def positive(self, text: str) -> float:
        return float(sigmoid(np.array([self.weights[word] for word in text.split()]).sum()))

    async def analyze(
        self, texts: Sequence[str], *, truncate: bool = False, reuse: Reuse = ASK_AND_KEEP, counted: bool = True
    ) -> list[Answer]:
        assert truncate, "a text that was cut stays cut"
        assert (reuse.keep, counted) == (False, False), "nobody wrote this text"
        self.asked += texts
        return [Answer(Verdict.of(self.positive(text), NeutralBand()), cached=False) for text in texts]


async def test_known_weights_come_back() -> None:
    judge = Adding(WEIGHTS)
    text = " ".join(WEIGHTS)
    weighed = await explain(judge, text, judge.positive(text))
    assert [word.text for word in weighed] == list(WEIGHTS)
    assert [word.weight for word in weighed] == pytest.approx(list(WEIGHTS.values()))
    assert len(judge.asked) == 2 * len(WEIGHTS)


async def test_without_its_only_word_a_text_is_neutral_and_nobody_is_asked() -> None:
    judge = Adding(WEIGHTS)
    (word,) = await explain(judge, "지루한", judge.positive("지루한"))
    assert word.text == "지루한"
    assert word.weight == pytest.approx(-1.75)
    assert not judge.asked


async def test_what_becomes_markup_without_a_word_is_neutral() -> None:
    judge = Adding({"<b": 0.5, "<좋다": 1.0, ">": 0.25})
    text = "<b <좋다 >"
    weighed = await explain(judge, text, judge.positive(text))
    assert "<b >" not in judge.asked
    whole, rests, alone = 1.75, [1.25, 0.0, 1.5], [0.5, 1.0, 0.25]
    assert [word.weight for word in weighed] == pytest.approx(shares(whole, rests, alone))


def test_shares_of_two_words_are_shapley_values() -> None:
    together, first, second = 2.0, 1.5, -0.5
    assert shares(together, [second, first], [first, second]) == pytest.approx([2.0, 0.0])


async def test_certainty_is_finite() -> None:
    judge = Adding({"최고": 1e4, "최악": -1e4})
    weighed = await explain(judge, "최고 최악", 1.0)
    assert all(abs(word.weight) < 100 for word in weighed)
    assert (log_odds(0.0), log_odds(0.5)) == (-log_odds(1.0), 0.0)


async def test_a_long_text_costs_no_more_than_the_limit() -> None:
    judge = Adding({"영화": 0.01})
    text = " ".join(["영화"] * 200)
    weighed = await explain(judge, text, judge.positive(text))
    assert len(weighed) == LIMIT
    assert len(judge.asked) <= 2 * LIMIT
    assert sum(word.weight for word in weighed) == pytest.approx(2.0)


@given(st.lists(st.text(st.characters(categories=["L"]), min_size=1), max_size=300), st.integers(1, 70))
def test_words_are_the_text_in_order_and_alike_in_size(parts: list[str], limit: int) -> None:
    spans = words(" ".join(parts), limit)
    assert " ".join(spans).split() == " ".join(parts).split()
    sizes = [len(span.split()) for span in spans]
    assert len(spans) == min(len(parts), limit)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_without_each() -> None:
    assert without_each(["a", "b", "c"]) == ["b c", "a c", "a b"]
    assert without_each(["a"]) == [""]


@pytest.mark.parametrize("text", ["정말 재미있어요 최고", "지루하다 별로 지루하다 ㅠㅠ 노잼", "굿"])
async def test_shares_add_up_to_a_real_answer(model: Model, text: str) -> None:
    (positive,) = model.positive_of([text]).tolist()
    weighed = await explain(Remembering(model), text, positive)
    assert [word.text for word in weighed] == text.split()
    assert max(abs(word.weight) for word in weighed) > 0.01, "the model tells words apart"
    assert sum(word.weight for word in weighed) == pytest.approx(log_odds(positive))


async def test_up_to_three_words_shares_are_exact(model: Model) -> None:
    judge = Remembering(model)
    text = "정말 재미있어요 최고"
    weighed = await explain(judge, text, judge.positive([text])[0])
    assert [word.weight for word in weighed] == pytest.approx(shapley(Review(text.split(), judge)), abs=1e-9)


def test_every_way_finds_weights_that_add_up(model: Model) -> None:
    class Sum(Remembering):
        def positive(self, texts: Sequence[str]) -> list[float]:
            return [Adding(WEIGHTS).positive(text) for text in texts]

    review = Review(list(WEIGHTS), Sum(model))
    for weigh in (shapley, *(weigh for _, weigh in WAYS.values())):
        assert weigh(review) == pytest.approx(list(WEIGHTS.values())), weigh
    assert area(review, [0, 1, 3, 2]) < area(review, [3, 1, 0, 2]) < area(review, [2, 3, 1, 0])
