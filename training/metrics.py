"""Figures of merit, from labels and probabilities; and paired tests between two models on the same rows."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import f1_score, matthews_corrcoef, roc_auc_score

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]

CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class Scores:
    """How well probabilities fit labels. All in [0, 1] but ``mcc`` (in [-1, 1]) and ``log_loss`` (nats)."""

    accuracy: float
    f1_macro: float
    mcc: float
    auroc: float
    log_loss: float
    brier: float
    ece: float

    @classmethod
    def of(cls, labels: IntArray, positive: FloatArray) -> "Scores":
        """``labels`` (N,) are 0 or 1, both present; ``positive`` (N,) is P(label = 1)."""
        predicted = positive >= 0.5
        sure = np.clip(np.where(labels == 1, positive, 1.0 - positive), 1e-12, 1.0)
        return cls(
            accuracy=float((predicted == labels).mean()),
            f1_macro=float(f1_score(labels, predicted, average="macro")),
            mcc=float(matthews_corrcoef(labels, predicted)),
            auroc=float(roc_auc_score(labels, positive)),
            log_loss=float(-np.log(sure).mean()),
            brier=float(((positive - labels) ** 2).mean()),
            ece=expected_calibration_error(labels, positive),
        )

    def as_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Reviews whose winning class was given a probability in one of the equal bins of [0.5, 1]."""

    confidence: float
    accuracy: float
    count: int


def reliability(labels: IntArray, positive: FloatArray, bins: int = CALIBRATION_BINS) -> list[ReliabilityBin]:
    """Mean confidence and accuracy by bin of confidence, empty bins left out."""
    confidence = np.maximum(positive, 1.0 - positive)
    correct = (positive >= 0.5) == labels
    index = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(float(confidence[index == b].mean()), float(correct[index == b].mean()), int((index == b).sum()))
        for b in range(bins)
        if (index == b).any()
    ]


def expected_calibration_error(labels: IntArray, positive: FloatArray) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Naeini et al., 2015)."""
    return sum(abs(b.confidence - b.accuracy) * b.count for b in reliability(labels, positive)) / len(labels)


def majority_accuracy(train_labels: IntArray, labels: IntArray) -> float:
    """Accuracy on ``labels`` of always answering the more frequent class of ``train_labels``."""
    answer = int(np.mean(train_labels) >= 0.5)
    return float((labels == answer).mean())


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same rows: rows that only one of them got right, and McNemar's exact p, two-sided."""

    rows: int
    only_first: int
    only_second: int
    p_value: float

    @property
    def difference(self) -> float:
        """Accuracy of the first minus accuracy of the second."""
        return (self.only_first - self.only_second) / self.rows


def mcnemar(labels: IntArray, first: IntArray, second: IntArray) -> Paired:
    """Compare the predictions (N,) of two models with the same labels (N,) (McNemar, 1947; exact binomial form)."""
    first_right, second_right = first == labels, second == labels
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return Paired(len(labels), only_first, only_second, p_value)
