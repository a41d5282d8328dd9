from collections.abc import Sequence

import numpy as np
import pytest

from training.precision import Limits, Stability, loss, stability

LABELS = np.array([0, 0, 1, 1] * 250)
FULL = np.where(LABELS == 1, 0.9, 0.1)
STABLE = Stability(reviews=10, flips=0, probability_difference=0.0)


def flipped(count: int) -> np.ndarray:
    found = FULL.copy()
    found[:count] = 1.0 - found[:count]
    return found


def test_what_loses_nothing_is_let_in() -> None:
    same = loss(LABELS, FULL, FULL, size_share=0.26, stability=STABLE)
    assert (same.accuracy, same.accuracy_loss_points, same.label_flips) == (1.0, 0.0, 0.0)
    assert same.reasons(Limits()) == []


@pytest.mark.parametrize(
    ("flips", "limits", "reasons"),
    [
        (2, Limits(), []),
        (3, Limits(), ["0.3 points of accuracy are lost; at most 0.2 may"]),
        (3, Limits(accuracy_loss_points=0.3), []),
        (11, Limits(accuracy_loss_points=5.0), ["0.011 of the answers are others; at most 0.01 may"]),
    ],
)
def test_accuracy_and_flips_are_held_against_their_limits(flips: int, limits: Limits, reasons: list[str]) -> None:
    assert loss(LABELS, FULL, flipped(flips), size_share=0.26, stability=STABLE).reasons(limits) == reasons


def test_being_better_than_the_full_one_is_no_loss() -> None:
    better = loss(LABELS, flipped(5), FULL, size_share=0.26, stability=STABLE)
    assert better.accuracy_loss_points == pytest.approx(-0.5)
    assert better.reasons(Limits()) == []


def test_not_a_number_is_no_pass() -> None:
    broken = Stability(reviews=10, flips=0, probability_difference=float("nan"))
    assert len(loss(LABELS, FULL, FULL, size_share=0.26, stability=broken).reasons(Limits())) == 1


def test_a_judge_that_looks_at_the_neighbours_is_found_out() -> None:
    rows = [[2, number, 3] for number in range(300)]

    def honest(some: Sequence[Sequence[int]]) -> np.ndarray:
        return np.array([row[1] / 300 for row in some])

    def nosy(some: Sequence[Sequence[int]]) -> np.ndarray:
        found = honest(some)
        return np.asarray(0.5 * found + 0.5 * found.max())

    assert stability(honest, rows) == Stability(300, 0, 0.0)
    found = stability(nosy, rows)
    assert found.flips > 50
    assert found.probability_difference > 0.3
    assert len(loss(LABELS, FULL, FULL, size_share=0.26, stability=found).reasons(Limits())) == 2
