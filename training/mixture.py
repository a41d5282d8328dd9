"""What the model learns from: labelled reviews, crawled ones, and what teachers say of both."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.crawl import NEGATIVE_STARS, NEUTRAL_STARS, POSITIVE_STARS
from data.probability import sigmoid

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Polar:
    """Rows of the crawl that NSMC's rule would have given a label, and that label."""

    rows: IntArray
    labels: IntArray


def resampled(stars: IntArray, positive_share: float, seed: int) -> Polar:
    """As many of the (N,) rated reviews with a label as there are at the class prior of the labelled ones.

    The crawl's leftovers are nearly all positive; all of the scarcer class are taken, and a random part of the other.
    """
    generator = np.random.default_rng(seed)
    negative = np.flatnonzero(np.isin(stars, NEGATIVE_STARS))
    positive = np.flatnonzero(np.isin(stars, POSITIVE_STARS))
    total = min(len(negative) / (1.0 - positive_share), len(positive) / positive_share)
    negative = generator.permutation(negative)[: int(total * (1.0 - positive_share))]
    positive = generator.permutation(positive)[: int(total * positive_share)]
    rows = np.sort(np.concatenate([negative, positive]))
    return Polar(rows, np.isin(stars[rows], POSITIVE_STARS).astype(np.int64))


def neutral_rows(stars: IntArray) -> IntArray:
    """Which of the (N,) rated reviews carry neither label."""
    return np.flatnonzero(np.isin(stars, NEUTRAL_STARS))


def taught(targets: FloatArray, margins: FloatArray, weight: float) -> FloatArray:
    """(N,) targets drawn towards a teacher's P(positive) = sigmoid(margin) (Hinton et al., 2015, temperature 1)."""
    return np.asarray((1.0 - weight) * targets + weight * sigmoid(margins))
