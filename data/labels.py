"""Labels, and the verdict that a calibrated probability amounts to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.errors import SettingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NEGATIVE, POSITIVE = 0, 1
NAMES: tuple[str, str] = ("부정", "긍정")
"""Label names by class index, as the REST contract spells them."""
NEUTRAL = "중립"


@dataclass(frozen=True, slots=True)
class NeutralBand:
    """The closed interval of P(positive) in which a review is called neutral.

    The bounds lie on either side of 0.5, so that outside the band the sign of the verdict is the argmax.
    """

    low: float = 0.4
    high: float = 0.6

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= 0.5 <= self.high <= 1.0:
            raise SettingError(f"neutral_band is [{self.low}, {self.high}]; it must hold 0 <= low <= 0.5 <= high <= 1")

    def __contains__(self, positive: float) -> bool:
        return self.low <= positive <= self.high


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one review.

    ``score`` is the probability of the winning class, in [0.5, 1]; ``sentiment`` may still be neutral.
    """

    sentiment: str
    score: float
    negative: float
    positive: float

    @classmethod
    def of(cls, positive: float, band: NeutralBand) -> "Verdict":
        """Judge by the calibrated probability of the positive class, in [0, 1]."""
        negative = 1.0 - positive
        winner = POSITIVE if positive >= 0.5 else NEGATIVE
        sentiment = NEUTRAL if positive in band else NAMES[winner]
        return cls(sentiment=sentiment, score=max(positive, negative), negative=negative, positive=positive)


def sentiments(positive: "npt.NDArray[np.float64]", band: NeutralBand) -> "npt.NDArray[np.str_]":
    """``Verdict.of(...).sentiment`` of many calibrated probabilities of the positive class, (N,) to (N,)."""
    import numpy as np  # an operator's command, which reads labels only, is to start at once

    winners = np.where(positive >= 0.5, NAMES[POSITIVE], NAMES[NEGATIVE])
    return np.where((positive >= band.low) & (positive <= band.high), NEUTRAL, winners)
