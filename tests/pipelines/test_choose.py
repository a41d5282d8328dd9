import numpy as np
import pytest

from pipelines.choose import IntArray, decide
from pipelines.params import Choose

RULE = Choose(significance=0.05, max_drop_points=0.5)
LABELS = np.arange(10_000) % 2


def predictions(wrong: int, start: int = 0) -> IntArray:
    """LABELS with ``wrong`` errors from row ``start`` on."""
    found = LABELS.copy()
    found[start : start + wrong] ^= 1
    return found


def test_the_first_one_has_to_beat_the_majority() -> None:
    assert decide(LABELS, predictions(4_000), None, 0.5, RULE).promoted
    refused = decide(LABELS, predictions(5_000), None, 0.5, RULE)
    assert not refused.promoted
    assert "not above the majority baseline's 0.5000" in refused.reasons[0]


def test_a_better_one_is_promoted_with_figures() -> None:
    decision = decide(LABELS, predictions(1_000), predictions(1_300, start=5_000), 0.5, RULE)
    assert decision.promoted
    assert decision.figures["difference_points"] == pytest.approx(3.0)
    assert decision.figures["mcnemar_p"] < 0.001
    assert (decision.figures["only_candidate_right"], decision.figures["only_champion_right"]) == (1_300, 1_000)


def test_one_that_is_worse_by_chance_is_promoted() -> None:
    assert decide(LABELS, predictions(1_010), predictions(1_000, start=5_000), 0.5, RULE).promoted


def test_one_that_is_significantly_worse_is_refused() -> None:
    decision = decide(LABELS, predictions(1_040), predictions(1_000), 0.5, RULE)
    assert not decision.promoted, "40 rows that only the champion gets right are no chance, though only 0.4 points"
    assert "significantly worse at 0.05" in decision.reasons[1]


def test_a_drop_beyond_the_limit_is_refused_whatever_the_test_says() -> None:
    lenient = Choose(significance=1e-9, max_drop_points=0.5)
    decision = decide(LABELS, predictions(1_060), predictions(1_000, start=5_000), 0.5, lenient)
    assert not decision.promoted
    assert "beyond the 0.5 points" in decision.reasons[2]


def test_beating_the_champion_is_not_enough_without_the_majority() -> None:
    assert not decide(LABELS, predictions(5_000), predictions(6_000), 0.5, RULE).promoted
