"""How well a model does on parts of the data, and where it is most sure of itself and wrong."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from training.metrics import Interval, expected_calibration_error

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

LENGTHS: tuple[tuple[str, int, float], ...] = (
    ("1-9 characters", 1, 9),
    ("10-19 characters", 10, 19),
    ("20-39 characters", 20, 39),
    ("40-79 characters", 40, 79),
    ("80 or more characters", 80, np.inf),
)
"""Name, shortest and longest length of each slice."""


def by_length(lengths: IntArray) -> dict[str, Mask]:
    """The rows (N,) of each slice of ``LENGTHS``, from lengths (N,) in Unicode code points; 0 is in none."""
    return {name: (lengths >= shortest) & (lengths <= longest) for name, shortest, longest in LENGTHS}


def by_leak(texts: Sequence[str], train_texts: Collection[str]) -> dict[str, Mask]:
    """The rows (N,) whose exact text occurs in train, where memory alone can answer, and all others."""
    seen = frozenset(train_texts)
    leaked = np.array([text in seen for text in texts], dtype=bool)
    return {"leaked": leaked, "clean": ~leaked}


def score_slices(labels: IntArray, positive: FloatArray, masks: Mapping[str, Mask]) -> list[dict[str, Any]]:
    """A table row for each mask (N,), in their order, from labels (N,), 0 or 1, and P(label = 1) (N,).

    ``slice rows accuracy accuracy_low accuracy_high f1_macro ece``; the interval is ``wilson``'s at 95 %. What cannot
    be told is None: ``f1_macro`` where a class is absent, all figures where no row is left.
    """
    return [{"slice": name, **_scored(labels[mask], positive[mask])} for name, mask in masks.items()]


def wilson(right: int, rows: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion, in [0, 1], sound for few rows and near 0 and 1, too (Wilson, 1927)."""
    found = binomtest(right, rows).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def confident_mistakes(
    labels: IntArray, positive: FloatArray, texts: Sequence[str], ids: Sequence[str], count: int = 50
) -> list[dict[str, Any]]:
    """The ``count`` rows whose wrong answer has the highest probability, most confident first; equals by id.

    Table rows ``id text label predicted positive confidence``, confidence being the probability of the answer.
    """
    predicted = (positive >= 0.5).astype(int)
    rows: list[dict[str, Any]] = [
        {
            "id": ids[index],
            "text": texts[index],
            "label": int(labels[index]),
            "predicted": int(predicted[index]),
            "positive": float(positive[index]),
            "confidence": float(max(positive[index], 1.0 - positive[index])),
        }
        for index in np.flatnonzero(predicted != labels).tolist()
    ]
    return sorted(rows, key=lambda row: (-row["confidence"], row["id"]))[:count]


def _scored(labels: IntArray, positive: FloatArray) -> dict[str, Any]:
    rows = len(labels)
    if not rows:
        return {"rows": 0, **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "f1_macro", "ece"))}
    predicted = (positive >= 0.5).astype(int)
    right = int((predicted == labels).sum())
    low, high = wilson(right, rows)
    both = len(np.unique(labels)) > 1
    return {
        "rows": rows,
        "accuracy": right / rows,
        "accuracy_low": low,
        "accuracy_high": high,
        "f1_macro": float(f1_score(labels, predicted, average="macro")) if both else None,
        "ece": float(expected_calibration_error(labels, positive)),
    }
