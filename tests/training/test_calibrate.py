from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score

from data.errors import SettingError
from data.labels import NEUTRAL, NeutralBand, Verdict
from data.probability import sigmoid
from training.calibrate import (
    TEMPERATURES,
    StarShare,
    fit_band,
    fit_calibration,
    rises,
    share_positive_by_star,
    three_way,
)

Array = npt.NDArray[Any]
BAND = NeutralBand(0.4, 0.6)


def rated(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """P(positive) and stars that go together, with noise."""
    generator = np.random.default_rng(seed)
    stars = generator.integers(1, 11, rows)
    return 1 / (1 + np.exp(-generator.normal(stars - 6.0, 2.0))), stars


def share(star: int, count: int, positive: float) -> StarShare:
    return StarShare(star, count, positive, positive, 0.0, positive)


def judged(rows: int) -> tuple[Array, Array]:
    """Honest log odds, and labels that come true as often as these say."""
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, rows)
    return honest, (generator.random(rows) < sigmoid(honest)).astype(int)


def test_calibration_undoes_overconfidence_and_a_bias() -> None:
    honest, labels = judged(20_000)
    found = fit_calibration(honest, labels)
    assert (found.temperature, found.bias) == pytest.approx((1.0, 0.0), abs=0.05)
    found = fit_calibration(3.0 * honest + 2.0, labels)
    assert (found.temperature, found.bias) == pytest.approx((3.0, -2.0), abs=0.15)
    assert found.log_odds(3.0 * honest + 2.0) == pytest.approx(honest, abs=0.25)


def test_calibration_is_what_logistic_regression_finds() -> None:
    honest, labels = judged(20_000)
    margins = 2.0 * honest - 1.0
    expected = LogisticRegression(C=np.inf).fit(margins[:, None], labels).decision_function(margins[:, None])
    assert fit_calibration(margins, labels).log_odds(margins) == pytest.approx(expected, abs=0.01)


def test_few_rows_or_useless_ones_give_no_extreme_answer() -> None:
    margins = np.array([-2.0, -1.0, 1.0, 2.0])
    certain = sigmoid(fit_calibration(margins, np.array([0, 0, 1, 1])).log_odds(margins))
    assert certain[0] < 0.3 < 0.7 < certain[-1]
    assert certain[0] > 0.05
    upside_down = fit_calibration(margins, np.array([1, 1, 0, 0]))
    assert upside_down.temperature == pytest.approx(TEMPERATURES[1])
    assert sigmoid(upside_down.log_odds(margins)) == pytest.approx(0.5, abs=0.05)


def test_three_way_of_a_known_case() -> None:
    stars = np.array([1, 2, 3, 4, 5, 8, 9, 10])
    positive = np.array([0.1, 0.39, 0.4, 0.9, 0.6, 0.61, 0.61, 0.5])
    # verdicts:          neg  neg   neu  pos  neu  pos   pos   neu
    found = three_way(positive, stars, BAND)
    assert found == pytest.approx(
        {
            "accuracy": 4 / 8,
            "f1_macro": (2 * 2 / (4 + 2) + 2 * 1 / (2 + 3) + 2 * 1 / (2 + 3)) / 3,
            "balanced_accuracy": 0.5,
            # a third of the weight each: named negative 0.5, neutral 0.25 + 0.5 + 0.5, positive 0.25 + 0.5 + 0.5
            "balanced_f1_macro": (2 * 0.5 / 1.5 + 2 * 0.5 / 2.25 + 2 * 0.5 / 2.25) / 3,
            "recall_negative": 0.5,
            "recall_neutral": 0.5,
            "recall_positive": 0.5,
        }
    )


def test_three_way_agrees_with_scikit_learn_and_with_the_verdicts() -> None:
    positive, stars = rated(400)
    truth = np.digitize(stars, [5, 9])
    band = NeutralBand(float(positive[positive < 0.5][0]), float(positive[positive > 0.5][0]))  # bounds are neutral
    names = {"부정": 0, NEUTRAL: 1, "긍정": 2}
    verdicts = np.array([names[Verdict.of(value, band).sentiment] for value in positive])
    weight = 1 / np.bincount(truth)[truth]
    found = three_way(positive, stars, band)
    assert found["accuracy"] == pytest.approx((truth == verdicts).mean())
    assert found["f1_macro"] == pytest.approx(f1_score(truth, verdicts, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, verdicts))
    assert found["balanced_f1_macro"] == pytest.approx(f1_score(truth, verdicts, average="macro", sample_weight=weight))


def test_a_band_that_sorts_all_is_found() -> None:
    stars = np.array([1, 4, 5, 6, 7, 8, 9, 10])
    fit = fit_band(np.array([0.05, 0.2, 0.3, 0.4, 0.7, 0.8, 0.9, 0.99]), stars)
    assert fit.band == NeutralBand(0.3, 0.8)
    assert (fit.accuracy, fit.f1_macro) == (1.0, 1.0)


def test_of_bands_that_are_as_good_the_one_nearest_to_the_middle_is_taken() -> None:
    # what stands at 0.2 is all neutral with a bound there, and all negative with one at 0.5: half right either way
    assert fit_band(np.array([0.2, 0.2, 0.9]), np.array([1, 5, 10])).band == NeutralBand(0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_band_is_better(seed: int) -> None:
    positive, stars = rated(60, seed)
    fit = fit_band(positive, stars)
    lows, highs = [*positive[positive <= 0.5], 0.0, 0.5], [*positive[positive >= 0.5], 0.5, 1.0]
    best = max(three_way(positive, stars, NeutralBand(*pair))["balanced_f1_macro"] for pair in product(lows, highs))
    found = three_way(positive, stars, fit.band)
    assert fit.f1_macro == found["balanced_f1_macro"] == pytest.approx(best, abs=1e-12)
    assert fit.accuracy == found["balanced_accuracy"]


def test_the_band_does_not_depend_on_how_many_of_a_class_were_sampled() -> None:
    positive, stars = rated(2_000)
    neutral = (stars >= 5) & (stars <= 8)
    more = np.concatenate([np.arange(2_000), *[np.flatnonzero(neutral)] * 6])
    fit, again = fit_band(positive, stars), fit_band(positive[more], stars[more])
    assert again.band == fit.band
    assert again.f1_macro == pytest.approx(fit.f1_macro)
    plain = [three_way(positive[rows], stars[rows], fit.band)["f1_macro"] for rows in (np.arange(2_000), more)]
    assert plain[0] != pytest.approx(plain[1], abs=0.01)


def test_where_neutral_reviews_look_positive_the_lower_bound_stays_at_the_middle() -> None:
    stars = np.array([1, 2, 6, 7, 9, 10])
    fit = fit_band(np.array([0.1, 0.49, 0.7, 0.8, 0.9, 0.95]), stars)
    assert fit.band == NeutralBand(0.5, 0.8)


@pytest.mark.parametrize(
    ("stars", "message"),
    [([1, 6, 11], "from 1 to 11"), ([0, 6, 9], "from 0 to 9"), ([1, 9, 10], "stars of neutral;")],
)
def test_stars_that_fit_no_band_are_refused(stars: list[int], message: str) -> None:
    for judge in (fit_band, lambda positive, given: three_way(positive, given, BAND)):
        with pytest.raises(SettingError, match=message):
            judge(np.full(3, 0.5), np.array(stars))


def test_shares_by_star_of_a_known_case() -> None:
    stars = np.array([10, 1, 1, 1, 1, 7, 7])
    positive = np.array([0.9, 0.1, 0.5, 0.6, 0.7, 0.4, 0.3])
    found = share_positive_by_star(positive, stars, BAND)
    assert [row.mean_probability for row in found] == pytest.approx([0.475, 0.35, 0.9])
    assert [replace(row, mean_probability=0.0) for row in found] == [
        StarShare(1, 4, 0.75, 0.25, 0.5, 0.0),
        StarShare(7, 2, 0.0, 0.0, 0.5, 0.0),
        StarShare(10, 1, 1.0, 1.0, 0.0, 0.0),
    ]


def test_shares_rise_unless_they_fall_by_more_than_chance() -> None:
    assert rises([share(1, 100, 0.1), share(5, 100, 0.5), share(10, 100, 0.9)])
    # p = 0.5 over both, sqrt(0.25 * 2 / 200) = 0.05: a drop of 0.14 is 2.8 of these, one of 0.16 is 3.2
    assert rises([share(1, 200, 0.57), share(2, 200, 0.43)])
    assert not rises([share(1, 200, 0.58), share(2, 200, 0.42)])
    assert not rises([share(2, 200, 0.42), share(1, 200, 0.58)])  # in any order
    assert not rises([share(1, 200, 0.57), share(2, 200, 0.43)], standard_errors=2.0)


def test_a_slow_fall_over_many_stars_is_seen() -> None:
    slow = [share(star, 200, 0.62 - 0.03 * star) for star in range(1, 9)]
    assert all(rises(list(pair)) for pair in pairwise(slow))
    assert not rises(slow)


def test_equal_shares_rise() -> None:
    assert rises([share(1, 10, 1.0), share(2, 10, 1.0)])
    assert rises([share(1, 10, 0.0), share(2, 10, 0.0)])
