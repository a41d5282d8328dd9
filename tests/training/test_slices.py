import numpy as np
import pytest

from training.slices import by_leak, by_length, confident_mistakes, score_slices, wilson


def test_lengths_meet_without_gap_or_overlap() -> None:
    lengths = [0, 1, 9, 10, 19, 20, 39, 40, 79, 80, 500]
    masks = by_length(np.array(lengths))
    assert {name: [lengths[row] for row in np.flatnonzero(mask)] for name, mask in masks.items()} == {
        "1-9 characters": [1, 9],
        "10-19 characters": [10, 19],
        "20-39 characters": [20, 39],
        "40-79 characters": [40, 79],
        "80 or more characters": [80, 500],
    }


def test_leaked_is_the_exact_text() -> None:
    masks = by_leak(["좋아요", "좋아요!", "별로"], ["별로", "좋아요"])
    assert masks["leaked"].tolist() == [True, False, True]
    assert masks["clean"].tolist() == [False, True, False]


def test_wilson_of_a_known_case() -> None:
    # z = 1.96: (8 + z² / 2 ± z sqrt(8 * 2 / 10 + z² / 4)) / (10 + z²)
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    assert wilson(10, 10) == pytest.approx((10 / (10 + 1.959964**2), 1.0))
    low, high = wilson(8, 10, level=0.5)
    assert 0.49016 < low < 0.8 < high < 0.94332


def test_slices_are_scored_by_themselves_and_name_what_cannot_be_told() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    positive = np.array([0.2, 0.8, 0.8, 0.8, 0.3])
    masks = {
        "all": np.ones(5, dtype=bool),
        "one class": np.array([False, False, True, True, True]),
        "none": np.zeros(5, dtype=bool),
    }
    whole, one, none = score_slices(labels, positive, masks)
    assert (whole["slice"], whole["rows"], whole["accuracy"]) == ("all", 5, 0.6)
    assert (whole["accuracy_low"], whole["accuracy_high"]) == wilson(3, 5)
    assert whole["f1_macro"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 2 / (3 + 3)) / 2)
    assert whole["ece"] == pytest.approx((4 * abs(0.8 - 0.75) + abs(0.7 - 0.0)) / 5)
    assert one["accuracy"] == pytest.approx(2 / 3)
    assert one["f1_macro"] is None
    assert one["ece"] == pytest.approx((2 * 0.2 + 0.7) / 3)
    assert none == {
        "slice": "none",
        "rows": 0,
        "accuracy": None,
        "accuracy_low": None,
        "accuracy_high": None,
        "f1_macro": None,
        "ece": None,
    }


def test_mistakes_come_most_confident_first_and_equals_by_id() -> None:
    labels = np.array([1, 0, 0, 1, 0, 1])
    positive = np.array([0.1, 0.9, 0.95, 0.99, 0.5, 0.25])
    texts, ids = list("abcdef"), ["7", "3", "9", "1", "2", "5"]
    found = confident_mistakes(labels, positive, texts, ids)
    assert [row["id"] for row in found] == ["9", "3", "7", "5", "2"]
    assert found[0] == {"id": "9", "text": "c", "label": 0, "predicted": 1, "positive": 0.95, "confidence": 0.95}
    assert found[2] == {"id": "7", "text": "a", "label": 1, "predicted": 0, "positive": 0.1, "confidence": 0.9}
    assert confident_mistakes(labels, positive, texts, ids, count=2) == found[:2]
    backwards = confident_mistakes(labels[::-1], positive[::-1], texts[::-1], ids[::-1])
    assert backwards == found
