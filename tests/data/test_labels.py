import math

import numpy as np
import pytest

from data.errors import SettingError
from data.labels import NeutralBand, Verdict
from data.probability import calibrated


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


def test_calibrated_is_a_softmax_that_temperature_flattens() -> None:
    logits = np.array([[0.0, 2.0], [1000.0, -1000.0]], dtype=np.float32)
    plain = calibrated(logits, 1.0)
    assert plain[0, 1] == pytest.approx(1 / (1 + math.exp(-2)))
    assert plain.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert np.isfinite(plain).all()
    assert 0.5 < calibrated(logits, 4.0)[0, 1] < plain[0, 1]
    assert (calibrated(logits, 4.0).argmax(1) == plain.argmax(1)).all()
