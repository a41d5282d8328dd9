"""The project's metric as an ``evaluate`` module: local, because the library's named ones are downloaded code."""

from typing import Any

import datasets
import evaluate
import numpy as np

from training.metrics import Scores


class ReviewSentiment(evaluate.Metric):  # type: ignore[misc]
    """All of ``training.metrics.Scores``, from P(positive) and labels, collected batch by batch in memory."""

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, macro F1, MCC, AUROC, log loss, Brier score and ECE of two-class probabilities.",
            citation="",
            inputs_description="predictions: P(positive) in [0, 1]; references: 0 or 1",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return Scores.of(np.asarray(references), np.asarray(predictions)).as_dict()


def scores(positive: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The metric over (N,) probabilities and labels."""
    result: dict[str, float] = ReviewSentiment().compute(predictions=positive, references=labels)
    return result
