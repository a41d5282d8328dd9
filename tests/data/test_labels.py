import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import SettingError
from data.labels import NeutralBand, Verdict, sentiments


@pytest.mark.parametrize(
    ("positive", "sentiment", "score"),
    [
        (0.9, "긍정", 0.9),
        (0.1, "부정", 0.9),
        (0.5, "중립", 0.5),
        (0.4, "중립", 0.6),
        (0.6, "중립", 0.6),
        (0.61, "긍정", 0.61),
    ],
)
def test_verdicts(positive: float, sentiment: str, score: float) -> None:
    verdict = Verdict.of(positive, NeutralBand(0.4, 0.6))
    assert verdict.sentiment == sentiment
    assert verdict.score == pytest.approx(score)
    assert verdict.positive + verdict.negative == pytest.approx(1.0)


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.7), (0.3, 0.4), (-0.1, 0.6), (0.4, 1.1), (math.nan, 0.6)])
def test_bands_that_do_not_hold_the_middle(low: float, high: float) -> None:
    with pytest.raises(SettingError, match="neutral_band"):
        NeutralBand(low, high)


@given(st.lists(st.floats(0.0, 1.0), max_size=20))
def test_many_are_judged_like_one(positive: list[float]) -> None:
    band = NeutralBand(0.25, 0.75)
    found = sentiments(np.array([*positive, 0.25, 0.75, 0.5, 0.0, 1.0]), band).tolist()
    assert found == [Verdict.of(each, band).sentiment for each in [*positive, 0.25, 0.75, 0.5, 0.0, 1.0]]
