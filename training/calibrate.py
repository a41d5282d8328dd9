"""Temperature scaling, fitted on dev."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from data.probability import calibrated

BOUNDS = (0.05, 20.0)


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """The temperature in ``BOUNDS`` that minimizes the log loss of (N, C) logits against (N,) labels.

    One parameter that keeps every argmax: accuracy does not change (Guo et al., 2017).
    """
    rows = np.arange(len(labels))

    def log_loss(log_temperature: float) -> float:
        probabilities = calibrated(logits, float(np.exp(log_temperature)))
        return float(-np.log(np.clip(probabilities[rows, labels], 1e-12, 1.0)).mean())

    low, high = np.log(BOUNDS)
    return float(np.exp(minimize_scalar(log_loss, bounds=(low, high), method="bounded").x))
