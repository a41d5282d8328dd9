from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import bootstrap

from training import metrics
from training.errors import ConfigError
from training.metrics import (
    Scores,
    expected_calibration_error,
    intervals,
    majority_accuracy,
    mcnemar,
    paired_interval,
    reliability,
    weighted,
)

Array = npt.NDArray[Any]
LABELS = np.array([0, 0, 1, 1])


def judged(rows: int, seed: int = 0, decimals: int = 16) -> tuple[Array, Array]:
    """Labels and probabilities of an overconfident model; few decimals make ties."""
    generator = np.random.default_rng(seed)
    margins = generator.normal(0.0, 2.0, rows)
    labels = (generator.random(rows) < 1 / (1 + np.exp(-margins))).astype(int)
    return labels, np.round(1 / (1 + np.exp(-1.5 * margins)), decimals)


def test_scores_of_a_known_case() -> None:
    scores = Scores.of(LABELS, np.array([0.1, 0.6, 0.7, 0.9]))
    assert scores.accuracy == 0.75
    assert scores.auroc == 1.0
    assert scores.mcc == pytest.approx(0.57735, abs=1e-5)
    assert scores.f1_macro == pytest.approx((2 / 3 + 0.8) / 2)
    assert scores.brier == pytest.approx((0.01 + 0.36 + 0.09 + 0.01) / 4)
    assert scores.log_loss == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.9]).mean())


def test_calibration_error_is_zero_where_confidence_is_right() -> None:
    labels = np.array([1] * 8 + [0] * 2)
    assert expected_calibration_error(labels, np.full(10, 0.8)) == pytest.approx(0.0, abs=1e-9)
    assert expected_calibration_error(labels, np.full(10, 0.999)) == pytest.approx(0.199)
    (only,) = reliability(labels, np.full(10, 0.8))
    assert (only.count, only.accuracy) == (10, 0.8)


def test_certainty_is_in_the_last_bin() -> None:
    assert reliability(np.array([1, 0]), np.array([1.0, 0.0]))[-1].count == 2


def test_majority_comes_from_train() -> None:
    assert majority_accuracy(np.array([1, 1, 0]), np.array([1, 0, 0, 0])) == 0.25


def test_mcnemar_is_exact_and_paired() -> None:
    labels = np.zeros(100, dtype=int)
    first, second = labels.copy(), labels.copy()
    first[:2], second[2:12] = 1, 1
    paired = mcnemar(labels, first, second)
    assert (paired.only_first, paired.only_second) == (10, 2)
    assert paired.difference == pytest.approx(0.08)
    assert paired.p_value == pytest.approx(0.03857, abs=1e-5)  # two-sided binomial test of 10 of 12
    assert mcnemar(labels, first, first).p_value == 1.0


@pytest.mark.parametrize("decimals", [16, 1])
def test_weights_of_one_give_the_scores_themselves(decimals: int) -> None:
    labels, positive = judged(500, decimals=decimals)
    found = weighted(labels, positive, np.ones((2, 500), dtype=int))
    for name, value in Scores.of(labels, positive).as_dict().items():
        assert found[name] == pytest.approx([value, value], abs=1e-12), name


def test_a_weight_is_a_repetition() -> None:
    labels, positive = judged(120, decimals=2)
    counts = np.random.default_rng(1).integers(0, 4, size=(20, 120))
    found = weighted(labels, positive, counts)
    for resample, repeated in enumerate(counts):
        scores = Scores.of(np.repeat(labels, repeated), np.repeat(positive, repeated)).as_dict()
        assert {name: values[resample] for name, values in found.items()} == pytest.approx(scores, abs=1e-12)


def test_weights_of_a_known_case() -> None:
    positive = np.array([0.1, 0.6, 0.6, 0.9])  # right, wrong, right, right
    found = weighted(LABELS, positive, np.array([[1, 1, 1, 1], [0, 3, 1, 0], [2, 0, 0, 0]]))
    assert found["accuracy"].tolist() == [0.75, 0.25, 1.0]
    assert found["auroc"][:2].tolist() == [0.875, 0.5]  # pairs won: 1 + 1 + 1 + a tie; nothing but ties
    assert np.isnan(found["auroc"][2])
    assert found["mcc"][1:].tolist() == [0.0, 0.0]
    assert found["f1_macro"] == pytest.approx([(2 / 3 + 0.8) / 2, (0 + 0.4) / 2, 1.0])
    assert found["ece"] == pytest.approx([(abs(1.2 - 1) + 0.1 + 0.1) / 4, abs(2.4 - 1) / 4, 0.1])


def test_intervals_agree_with_scipys() -> None:
    labels, positive = judged(200)

    def figures(rows: Array, axis: int) -> Array:
        right = (positive[rows] >= 0.5) == labels[rows]
        return np.stack([right.mean(axis=axis), ((positive[rows] - labels[rows]) ** 2).mean(axis=axis)])

    theirs = bootstrap((np.arange(200),), figures, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    ours = intervals(labels, positive, resamples=20_000, seed=2)
    # a bound is a quantile of 20,000 draws: its own error is about 2 % of the interval's width
    for place, (name, tolerance) in enumerate({"accuracy": 0.0051, "brier": 0.003}.items()):
        assert ours[name] == pytest.approx((theirs.low[place], theirs.high[place]), abs=tolerance), name


def test_intervals_hold_the_figures_narrow_with_rows_and_repeat() -> None:
    labels, positive = judged(2_000)
    found = intervals(labels, positive, resamples=200)
    assert found == intervals(labels, positive, resamples=200)
    assert found != intervals(labels, positive, resamples=200, seed=1)
    few = intervals(labels[:200], positive[:200], resamples=200)
    for name, value in Scores.of(labels, positive).as_dict().items():
        low, high = found[name]
        assert few[name][1] - few[name][0] > high - low
        if name != "ece":  # a mean of absolute values, which noise makes larger
            assert low < value < high
    wide = intervals(labels, positive, resamples=200, level=0.99)["accuracy"]
    assert wide[0] < found["accuracy"][0] < found["accuracy"][1] < wide[1]


def test_intervals_do_not_depend_on_how_much_is_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, positive = judged(301)
    found = intervals(labels, positive, resamples=50)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 3 * 301)
    assert intervals(labels, positive, resamples=50) == {name: pytest.approx(pair) for name, pair in found.items()}


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        labels = np.tile([0, 1], 75)
        right = generator.random(150) < 0.8
        positive = np.where(right == (labels == 1), 0.7, 0.3)
        low, high = intervals(labels, positive, resamples=200)["accuracy"]
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_a_paired_interval_is_that_of_the_difference_row_by_row() -> None:
    labels = np.zeros(1_000, dtype=int)
    first, second = labels.copy(), labels.copy()
    first[:20], second[10:70] = 1, 1  # wrong alone: 10 and 50; together: 10
    low, high = paired_interval(labels, first, second)
    error = np.sqrt((0.06 - 0.04**2) / 1_000)  # of a mean of +1, -1 and 0
    assert (low, high) == pytest.approx((0.04 - 1.96 * error, 0.04 + 1.96 * error), abs=0.0015)
    assert paired_interval(labels, second, first) == pytest.approx((-high, -low), abs=0.0015)
    assert paired_interval(labels, first, first) == (0.0, 0.0)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_intervals_name_a_setting_out_of_range(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"^{name} is"):
        intervals(LABELS, np.full(4, 0.5), **wrong)
    with pytest.raises(ConfigError, match=f"^{name} is"):
        paired_interval(LABELS, LABELS, LABELS, **wrong)
