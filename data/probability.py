"""From logits to calibrated probabilities; the one place where they are made, for training and for serving."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def calibrated(logits: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """softmax(logits / temperature), in double precision.

    ``logits`` is (B, C) of any floating type; the result is (B, C) and its rows sum to 1 within rounding.
    Temperature scaling: Guo et al., 2017, "On Calibration of Modern Neural Networks".
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponent = np.exp(scaled)
    return np.asarray(exponent / exponent.sum(axis=-1, keepdims=True))
