import math

import numpy as np
import pytest

from data.errors import SettingError
from data.probability import Calibration, margin, sigmoid

LOGITS = np.array([[0.0, 2.0], [3.0, 1.0], [1000.0, -1000.0], [-1000.0, 1000.0]], dtype=np.float32)


def test_without_temperature_and_bias_it_is_a_softmax() -> None:
    plain = Calibration().positive(LOGITS)
    assert plain.dtype == np.float64
    assert plain[:2] == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))])
    assert plain[2:].tolist() == [0.0, 1.0]


def test_temperature_flattens_and_bias_moves() -> None:
    plain = Calibration().positive(LOGITS)
    flat = Calibration(temperature=4.0).positive(LOGITS)
    assert 0.5 < flat[0] < plain[0]
    assert ((flat >= 0.5) == (plain >= 0.5)).all()
    moved = Calibration(temperature=4.0, bias=-3.0).positive(LOGITS)
    assert moved[0] == pytest.approx(1 / (1 + math.exp(1 / 4)))


def test_log_odds_are_those_of_the_probability() -> None:
    calibration = Calibration(temperature=1.7, bias=0.3)
    margins = margin(LOGITS[:2])
    assert sigmoid(calibration.log_odds(margins)) == pytest.approx(calibration.positive(LOGITS[:2]))


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": math.nan}, {"bias": math.inf}])
def test_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=f"calibration.{next(iter(settings))} is"):
        Calibration(**settings)
