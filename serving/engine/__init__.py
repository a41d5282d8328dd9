"""Engines: one protocol, one file a runtime."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

LogitArray = npt.NDArray[np.float32]


class Engine(Protocol):
    """Turns token ids into logits."""

    @property
    def name(self) -> str:
        """Runtime and device, for ``/model-info``."""

    def logits(self, rows: Sequence[Sequence[int]]) -> LogitArray:
        """(N, C) float32 logits of N unpadded token id rows, in their order.

        A row's logits do not depend on the other rows beyond rounding. Safe to call from any one thread at a time.
        """
