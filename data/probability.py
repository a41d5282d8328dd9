"""From logits to calibrated probabilities; the one place where they are made, for training and for serving."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.errors import SettingError
from data.labels import NEGATIVE, POSITIVE

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes P(positive) of a classifier's margin: sigmoid((margin + bias) / temperature).

    The bias is in the unit of the logits. Temperature: Guo et al., 2017, "On Calibration of Modern Neural Networks";
    both: Platt, 1999.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("temperature", "bias"):
            if not math.isfinite(getattr(self, name)):
                raise SettingError(f"calibration.{name} is {getattr(self, name)}; it must be a finite number")
        if self.temperature <= 0.0:
            raise SettingError(f"calibration.temperature is {self.temperature}; it must be above 0")

    def log_odds(self, margins: npt.ArrayLike) -> DoubleArray:
        """Calibrated margins, of any shape."""
        return (np.asarray(margins, dtype=np.float64) + self.bias) / self.temperature

    def positive(self, logits: npt.ArrayLike) -> DoubleArray:
        """P(positive), (B,) in double precision, of (B, 2) logits of any floating type."""
        return sigmoid(self.log_odds(margin(logits)))


def margin(logits: npt.ArrayLike) -> DoubleArray:
    """(B,) uncalibrated log odds of positive of (B, 2) logits."""
    both = np.asarray(logits, dtype=np.float64)
    return np.asarray(both[..., POSITIVE] - both[..., NEGATIVE])


def sigmoid(margins: npt.NDArray[np.floating]) -> DoubleArray:
    """1 / (1 + exp(-margins)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margins)))
