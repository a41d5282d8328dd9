"""Engines: one protocol, one file a runtime; ``schedule`` feeds them and ``choose`` picks one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

LogitArray = npt.NDArray[np.float32]
Rows = Sequence[Sequence[int]]
"""Token ids of reviews, without padding."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an engine uses the processor: so many calls at a time, each on so many threads."""

    streams: int = 1
    threads: int = 1


ONE = Layout()


class Engine(Protocol):
    """Turns the token ids of a few reviews of similar length into logits."""

    name: str
    """Runtime and device."""
    precision: str
    layout: Layout

    def logits(self, rows: Rows) -> LogitArray:
        """(N, C) float32 logits of N rows, in their order.

        A row's logits do not depend on the other rows beyond rounding. Any number of threads may call; more than
        ``layout.streams`` at a time gain nothing. Raises EngineFailed where the device does.
        """
