"""Figures of merit, from labels and probabilities; how sure they are; two models compared on the same rows."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import f1_score, matthews_corrcoef, roc_auc_score

from training.errors import ConfigError

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]
DoubleArray = npt.NDArray[np.float64]

Interval = tuple[float, float]
"""Lower and upper bound."""

CALIBRATION_BINS = 15
SMALLEST_PROBABILITY = 1e-12
"""What log loss takes a smaller probability for."""
CELLS_AT_ONCE = 2**20
"""How many row counts of resamples are held in memory together: 8 MiB an array, a handful of arrays."""


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
        sure = np.clip(np.where(labels == 1, positive, 1.0 - positive), SMALLEST_PROBABILITY, 1.0)
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
    index = _bin(confidence, bins)
    return [
        ReliabilityBin(float(confidence[index == b].mean()), float(correct[index == b].mean()), int((index == b).sum()))
        for b in range(bins)
        if (index == b).any()
    ]


def expected_calibration_error(labels: IntArray, positive: FloatArray) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Naeini et al., 2015)."""
    return sum(abs(b.confidence - b.accuracy) * b.count for b in reliability(labels, positive)) / len(labels)


def _bin(confidence: FloatArray, bins: int) -> npt.NDArray[np.int_]:
    """The equal-width bin of [0.5, 1] that each confidence falls in, from 0."""
    return np.asarray(np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1))


def majority_accuracy(train_labels: IntArray, labels: IntArray) -> float:
    """Accuracy on ``labels`` of always answering the more frequent class of ``train_labels``."""
    answer = int(np.mean(train_labels) >= 0.5)
    return float((labels == answer).mean())


def label_flips(first: FloatArray, second: FloatArray) -> int:
    """How many rows two P(positive) (N,) put into different classes."""
    return int(((first >= 0.5) != (second >= 0.5)).sum())


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


def intervals(
    labels: IntArray, positive: FloatArray, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Percentile bootstrap interval of every figure of ``Scores``, by name (Efron and Tibshirani, 1993, ch. 13).

    Rows are drawn with replacement, labels (N,) and P(label = 1) (N,) together, so the intervals cover the choice of
    test rows and not that of training. A resample with one class only has no AUROC and does not count for it. Raises
    ConfigError.
    """
    tails = _tails(resamples, level)
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(labels))
    parts = [
        weighted(labels, positive, _row_counts(generator, min(at_once, resamples - done), len(labels)))
        for done in range(0, resamples, at_once)
    ]
    return {name: _between(np.concatenate([part[name] for part in parts]), tails) for name in parts[0]}


def paired_interval(
    labels: IntArray, first: IntArray, second: IntArray, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the accuracy of ``first`` minus that of ``second``, predictions (N,) both.

    A row counts +1, -1 or 0, so drawing rows with replacement is drawing how many there are of each of the three:
    one multinomial draw a resample. Raises ConfigError.
    """
    tails = _tails(resamples, level)
    paired = mcnemar(labels, first, second)
    cells = np.array([paired.only_first, paired.only_second, 0])
    cells[2] = paired.rows - cells.sum()
    drawn = np.random.default_rng(seed).multinomial(paired.rows, cells / paired.rows, size=resamples)  # (R, 3)
    return _between((drawn[:, 0] - drawn[:, 1]) / paired.rows, tails)


def weighted(labels: IntArray, positive: FloatArray, counts: IntArray) -> dict[str, DoubleArray]:
    """The figures of ``Scores``, (R,) each, where row i counts ``counts[r, i]`` times; ``counts`` is (R, N).

    All ones give ``Scores.of``, and so does repeating the rows. AUROC is NaN where one class is left.
    """
    given, truth = np.asarray(positive, dtype=np.float64), np.asarray(labels) == 1  # (N,)
    weights = counts.astype(np.float64)  # (R, N)
    rows = weights.sum(axis=1)  # (R,)
    sums = (weights @ _columns(truth, given)).T  # (6 + bins, R)
    true_negative, false_positive, false_negative, true_positive, log_loss, brier = sums[:6]
    wrong = false_positive + false_negative
    f1 = [_ratio(2 * right, 2 * right + wrong, np.nan) for right in (true_negative, true_positive)]
    margins = (
        (true_positive + false_positive)
        * (true_positive + false_negative)
        * (true_negative + false_positive)
        * (true_negative + false_negative)
    )
    covariance = true_positive * true_negative - false_positive * false_negative
    return {
        "accuracy": (true_negative + true_positive) / rows,
        "f1_macro": np.nanmean(f1, axis=0),  # like scikit-learn: a class neither given nor predicted is left out
        "mcc": _ratio(covariance, np.sqrt(margins), 0.0),
        "auroc": _auroc(truth, given, weights),
        "log_loss": log_loss / rows,
        "brier": brier / rows,
        "ece": np.abs(sums[6:]).sum(axis=0) / rows,
    }


def _columns(truth: npt.NDArray[np.bool_], positive: DoubleArray) -> DoubleArray:
    """What each row adds to each sum: (N, 6 + bins), the four cells of the confusion, log loss, Brier, and ECE.

    |mean confidence - accuracy| of a bin times its count is |sum of (confidence - correct)| over the bin.
    """
    rows = np.arange(len(truth))
    predicted = positive >= 0.5
    confidence = np.maximum(positive, 1.0 - positive)
    columns = np.zeros((len(truth), 6 + CALIBRATION_BINS))
    columns[rows, 2 * truth + predicted] = 1.0
    columns[:, 4] = -np.log(np.clip(np.where(truth, positive, 1.0 - positive), SMALLEST_PROBABILITY, 1.0))
    columns[:, 5] = (positive - truth) ** 2
    columns[rows, 6 + _bin(confidence, CALIBRATION_BINS)] = confidence - (predicted == truth)
    return columns


def _auroc(truth: npt.NDArray[np.bool_], positive: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """(R,) chances that a positive row ranks above a negative one, ties counting half (Mann and Whitney, 1947).

    ``truth`` and ``positive`` are (N,), ``weights`` is (R, N).
    """
    above, below = np.flatnonzero(truth), np.flatnonzero(~truth)  # (P,), (Q,): P + Q = N
    below = below[np.argsort(positive[below])]
    negatives = np.zeros((len(weights), len(below) + 1))  # weight of the k lowest negative rows, k from 0 to Q
    np.cumsum(np.take(weights, below, axis=1), axis=1, out=negatives[:, 1:])
    lower, not_higher = (np.searchsorted(positive[below], positive[above], side) for side in ("left", "right"))
    beaten = (np.take(negatives, lower, axis=1) + np.take(negatives, not_higher, axis=1)) / 2  # (R, P)
    positives = np.take(weights, above, axis=1)
    won = (positives * beaten).sum(axis=1)
    return _ratio(won, positives.sum(axis=1) * negatives[:, -1], np.nan)


def _ratio(above: DoubleArray, below: DoubleArray, otherwise: float) -> DoubleArray:
    return np.divide(above, below, out=np.full_like(above, otherwise), where=below != 0)


def _row_counts(generator: np.random.Generator, resamples: int, rows: int) -> npt.NDArray[np.int_]:
    """How often each row is drawn, (R, N): multinomial with equal chances, by counting ``rows`` draws of a row."""
    drawn = generator.integers(rows, size=(resamples, rows)) + np.arange(resamples)[:, None] * rows
    return np.bincount(drawn.ravel(), minlength=resamples * rows).reshape(resamples, rows)


def _tails(resamples: int, level: float) -> Interval:
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}; it must be at least 1")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}; it must lie between 0 and 1")
    return (1.0 - level) / 2, (1.0 + level) / 2


def _between(values: DoubleArray, tails: Interval) -> Interval:
    low, high = np.nanquantile(values, tails)
    return float(low), float(high)
