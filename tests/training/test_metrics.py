import numpy as np
import pytest

from training.calibrate import fit_temperature
from training.metrics import Scores, expected_calibration_error, majority_accuracy, mcnemar, reliability

LABELS = np.array([0, 0, 1, 1])


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


def test_temperature_undoes_overconfidence_and_keeps_the_answers() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, 20_000)
    labels = (generator.random(20_000) < 1 / (1 + np.exp(-honest))).astype(int)
    logits = np.stack([np.zeros_like(honest), honest], axis=1)
    assert fit_temperature(3.0 * logits, labels) == pytest.approx(3.0, rel=0.05)
    assert fit_temperature(logits, labels) == pytest.approx(1.0, rel=0.05)
