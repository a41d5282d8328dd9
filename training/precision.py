"""The gate of precisions: what a graph that computes in fewer bits loses against the full one, and whether it may."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from training.metrics import label_flips

DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer]
Rows = Sequence[Sequence[int]]
Judge = Callable[[Rows], DoubleArray]
"""P(positive), (N,), of N token id rows, run as one batch."""

LARGEST_BATCH = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a precision may lose: percentage points of accuracy, a share of answers, and certainty about neighbours.

    ``probability_difference`` is between a review alone and the same in any batch.
    """

    accuracy_loss_points: float = 0.2
    label_flips: float = 0.01
    probability_difference: float = 1e-3


@dataclass(frozen=True, slots=True)
class Stability:
    """How far answers depend on the other rows of a batch: flips, and the largest difference of a probability."""

    reviews: int
    flips: int
    probability_difference: float


@dataclass(frozen=True, slots=True)
class Loss:
    """One precision beside the full one, on the same reviews; flips are a share, the size is that of the graphs."""

    accuracy: float
    accuracy_loss_points: float
    label_flips: float
    size_share: float
    stability: Stability

    def reasons(self, limits: Limits) -> list[str]:
        """Why it must not be served; none where it may."""
        found = [
            (self.accuracy_loss_points, limits.accuracy_loss_points, "points of accuracy are lost"),
            (self.label_flips, limits.label_flips, "of the answers are others"),
            (
                self.stability.probability_difference,
                limits.probability_difference,
                "is what the other reviews of a batch change of a probability",
            ),
            (self.stability.flips, 0, "answers depend on the other reviews of a batch"),
        ]
        return [f"{value:.4g} {what}; at most {limit:g} may" for value, limit, what in found if not value <= limit]

    def as_dict(self) -> dict[str, float]:
        """The figures, flat."""
        stability = {f"stability_{name}": value for name, value in asdict(self.stability).items()}
        return {name: value for name, value in asdict(self).items() if name != "stability"} | stability


def loss(labels: IntArray, full: DoubleArray, found: DoubleArray, *, size_share: float, stability: Stability) -> Loss:
    """Compare P(positive) (N,) of a precision with that of the full one; ``labels`` (N,) are 0 or 1."""
    right, before = (int(((positive >= 0.5) == labels).sum()) for positive in (found, full))
    return Loss(
        accuracy=right / len(labels),
        accuracy_loss_points=100 * (before - right) / len(labels),
        label_flips=label_flips(full, found) / len(labels),
        size_share=size_share,
        stability=stability,
    )


def stability(judge: Judge, rows: Rows, seed: int = 0) -> Stability:
    """Judge each of ``rows`` alone, and all in a random order in batches of random sizes."""
    alone = np.concatenate([judge([row]) for row in rows])
    together = np.empty_like(alone)
    for batch in _random_batches(len(rows), seed):
        together[batch] = judge([rows[index] for index in batch])
    return Stability(len(rows), label_flips(alone, together), float(np.abs(alone - together).max()))


def _random_batches(count: int, seed: int) -> Iterator[list[int]]:
    generator = np.random.default_rng(seed)
    order = generator.permutation(count).tolist()
    while order:
        size = int(generator.integers(1, LARGEST_BATCH + 1))
        yield order[:size]
        order = order[size:]
