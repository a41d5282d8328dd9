"""What is fitted on top of a model, never on test: its calibration, and its neutral band on reviews with stars."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from data.crawl import NEUTRAL_STARS, POSITIVE_STARS, STARS
from data.errors import SettingError
from data.labels import NeutralBand
from data.probability import Calibration, sigmoid

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]
DoubleArray = npt.NDArray[np.float64]

TEMPERATURES = (0.05, 20.0)
MOST_INTERCEPT = 10.0
"""Bounds of what is fitted: beyond them a model says nothing."""

STAR_CLASSES = ("negative", "neutral", "positive")
QUANTILES = 400
"""How many bounds of a band are tried for each class of stars."""


def fit_calibration(margins: FloatArray, labels: FloatArray | IntArray) -> Calibration:
    """What makes probabilities of (N,) margins, by the log loss of (N,) labels, 0 or 1 (Platt, 1999).

    As in the paper, a label counts as not quite certain, the less so the fewer there are; so few rows, or rows that a
    threshold parts without an error, give no extreme answer.
    """
    ones = float(np.sum(labels))
    zeros = len(labels) - ones
    targets = np.where(labels == 1, (ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0))

    def log_loss(parameters: DoubleArray) -> tuple[float, DoubleArray]:
        slope, intercept = parameters
        log_odds = slope * margins + intercept
        residual = sigmoid(log_odds) - targets
        loss = np.mean(np.logaddexp(0.0, log_odds) - targets * log_odds)
        return float(loss), np.array([np.mean(residual * margins), np.mean(residual)])

    coldest, hottest = TEMPERATURES
    bounds = ((1.0 / hottest, 1.0 / coldest), (-MOST_INTERCEPT, MOST_INTERCEPT))
    found = minimize(log_loss, (1.0, 0.0), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12})
    slope, intercept = found.x
    return Calibration(float(1.0 / slope), float(intercept / slope))


@dataclass(frozen=True, slots=True)
class BandFit:
    """A neutral band and how well it sorts rated reviews into three classes of equal weight, as fitted."""

    band: NeutralBand
    accuracy: float
    f1_macro: float


@dataclass(frozen=True, slots=True)
class StarShare:
    """What a model says of the reviews with one number of stars; shares are of ``count``, in [0, 1].

    ``positive`` is the share with P(positive) >= 0.5, the next two are shares with the band: above it and in it.
    """

    star: int
    count: int
    positive: float
    positive_with_band: float
    neutral: float
    mean_probability: float


def fit_band(positive: FloatArray, stars: IntArray) -> BandFit:
    """The band with the best three-way macro F1 for P(positive) (N,) of reviews with ``stars`` (N,), 1 to 10.

    Each class of stars has a third of the weight, however many reviews it has. Tried are all pairs of bounds from
    ``QUANTILES`` quantiles of each class, so all there are where it has no more reviews; among equals the bound
    nearest to 0.5 wins, the lower bound first. Raises SettingError.
    """
    truth = _star_classes(stars)
    given = np.asarray(positive, dtype=np.float64)
    by_class = [np.sort(given[truth == number]) for number in range(len(STAR_CLASSES))]
    lows, highs = _bounds(by_class)  # (L,), (H,)
    below = np.array([np.searchsorted(values, lows, side="left") / len(values) for values in by_class])  # (3, L)
    above = np.array([1 - np.searchsorted(values, highs, side="right") / len(values) for values in by_class])  # (3, H)
    # of a class: F1 = 2 * hits / (weight of the class, which is 1, + weight that is given its name)
    f1_negative = 2 * below[0] / (1 + below.sum(axis=0))  # (L,)
    f1_positive = 2 * above[2] / (1 + above.sum(axis=0))  # (H,)
    hits = 1 - below[1][:, None] - above[1][None, :]  # (L, H)
    named = len(STAR_CLASSES) - below.sum(axis=0)[:, None] - above.sum(axis=0)[None, :]  # (L, H)
    f1 = f1_negative[:, None] + f1_positive[None, :] + 2 * hits / (1 + named)
    # rounded, so that sums which differ by rounding only are equal and the first is found
    low, high = np.unravel_index(int(np.argmax(np.round(f1, 12))), f1.shape)
    band = NeutralBand(float(lows[low]), float(highs[high]))
    figures = three_way(given, stars, band)
    return BandFit(band, figures["balanced_accuracy"], figures["balanced_f1_macro"])


def three_way(positive: FloatArray, stars: IntArray, band: NeutralBand) -> dict[str, float]:
    """How verdicts with ``band`` fit the classes of ``stars`` (N,), all in [0, 1]; ``positive`` (N,) is P(positive).

    ``accuracy`` and ``f1_macro`` are over the reviews as they are; ``balanced_accuracy`` and ``balanced_f1_macro``
    weigh the classes equally; ``recall_negative``, ``recall_neutral`` and ``recall_positive`` are of each class.
    Raises SettingError where a class of stars is absent.
    """
    size = len(STAR_CLASSES)
    given = np.asarray(positive, dtype=np.float64)
    verdict = (given >= band.low).astype(int) + (given > band.high)
    counts = np.bincount(size * _star_classes(stars) + verdict, minlength=size * size).reshape(size, size)
    balanced = counts / counts.sum(axis=1, keepdims=True)  # rows: stars, columns: verdicts
    recall = np.diag(balanced)
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "f1_macro": _f1_macro(counts),
        "balanced_accuracy": float(recall.mean()),
        "balanced_f1_macro": _f1_macro(balanced),
        **{f"recall_{name}": float(value) for name, value in zip(STAR_CLASSES, recall, strict=True)},
    }


def share_positive_by_star(positive: FloatArray, stars: IntArray, band: NeutralBand) -> list[StarShare]:
    """One row for each number of stars that occurs, ascending; ``positive`` (N,) is P(positive), ``stars`` (N,)."""
    rows = []
    for star in np.unique(stars):
        chosen = np.asarray(positive, dtype=np.float64)[stars == star]
        over = chosen > band.high
        rows.append(
            StarShare(
                star=int(star),
                count=len(chosen),
                positive=float((chosen >= 0.5).mean()),
                positive_with_band=float(over.mean()),
                neutral=float(((chosen >= band.low) & ~over).mean()),
                mean_probability=float(chosen.mean()),
            )
        )
    return rows


def rises(shares: Sequence[StarShare], standard_errors: float = 3.0) -> bool:
    """Whether more stars never go with a smaller share called positive, sampling noise aside.

    Every pair of stars is compared. A drop passes up to ``standard_errors`` of the difference of two proportions that
    are the same, sqrt(p (1 - p) (1/n + 1/m)) with p over both. Were all ten shares equal, one of the 45 pairs would
    fall by more than 3 of these by chance in 6 % of samples at most (Bonferroni's bound).
    """
    for fewer, more in combinations(sorted(shares, key=lambda row: row.star), 2):
        share = (fewer.positive * fewer.count + more.positive * more.count) / (fewer.count + more.count)
        error = np.sqrt(share * (1 - share) * (1 / fewer.count + 1 / more.count))
        if fewer.positive - more.positive > standard_errors * error:
            return False
    return True


def _star_classes(stars: IntArray) -> npt.NDArray[np.int_]:
    """Indices in ``STAR_CLASSES``, (N,). Raises SettingError."""
    if not np.all(np.isin(stars, STARS)):
        raise SettingError(f"stars range from {np.min(stars)} to {np.max(stars)}; they must lie in 1 to {STARS[-1]}")
    classes = np.isin(stars, NEUTRAL_STARS) + 2 * np.isin(stars, POSITIVE_STARS)
    absent = [name for number, name in enumerate(STAR_CLASSES) if not np.any(classes == number)]
    if absent:
        raise SettingError(f"no review has the stars of {', '.join(absent)}; all of {STAR_CLASSES} must be there")
    return classes


def _bounds(by_class: Sequence[DoubleArray]) -> tuple[DoubleArray, DoubleArray]:
    """Lower bounds (L,) and upper bounds (H,) to try, from 0.5 outwards.

    Quantiles of each class by itself, ranks in whole numbers (inverted CDF): repeating a class changes nothing.
    """
    steps = np.arange(1, QUANTILES + 1)
    values = np.unique([0.5, *np.concatenate([v[(len(v) * steps - 1) // QUANTILES] for v in by_class])])
    return values[values <= 0.5][::-1], values[values >= 0.5]


def _f1_macro(confusion: npt.NDArray[np.integer] | DoubleArray) -> float:
    """Mean over classes of 2 hits / (given + named); each class has a row with something in it."""
    hits = np.diag(confusion)
    return float(np.mean(2 * hits / (confusion.sum(axis=0) + confusion.sum(axis=1))))
