"""From a batch to the engine's calls: rows of similar length together, so many tokens at a time, and back in order."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from data.labels import NAMES
from serving.engine import Engine, LogitArray, Rows


@dataclass(frozen=True, slots=True)
class Cut:
    """How a batch is cut: at most ``batch_tokens`` a call, padding included.

    A call costs as much as ``call_tokens`` more tokens would, so that much padding is worth saving one.
    """

    batch_tokens: int
    call_tokens: int = 0

    def admits(self, rows: int, longest: int, more: int, length: int) -> bool:
        """Whether ``more`` rows of ``length`` tokens may join a call of ``rows``, the longest of ``longest`` tokens.

        They may where the call stays within the budget, and where the padding that they bring, on them or on the
        others, costs less than a call of their own. Anything may join a call that has no rows yet.
        """
        padded = max(longest, length) * (rows + more)
        padding = padded - longest * rows - length * more
        return not rows or (padded <= self.batch_tokens and padding <= self.call_tokens)

    def parts(self, lengths: Sequence[int]) -> list[list[int]]:
        """The rows of each call, as indices into ``lengths``, shortest rows first. A row over the budget is alone."""
        parts: list[list[int]] = []
        longest = 0
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            if not parts or not self.admits(len(parts[-1]), longest, 1, lengths[row]):
                parts.append([])
            parts[-1].append(row)
            longest = lengths[row]
        return parts


DEFAULT_CUT = Cut(batch_tokens=512, call_tokens=0)
"""Where nothing is known of the machine; without padding, an answer is the same to the last bit in any batch."""


class Schedule:
    """An engine, and how batches of any rows are cut for it. Close it after use."""

    def __init__(self, engine: Engine, cut: Cut) -> None:
        self.engine = engine
        self.cut = cut
        self.streams = ThreadPoolExecutor(engine.layout.streams, "engine")
        """A thread for each call of a batch that the engine runs at a time."""

    def logits(self, rows: Rows) -> LogitArray:
        """(N, C) float32 logits of N unpadded token id rows of any lengths, in their order."""
        if len(rows) == 1:
            return self.engine.logits(rows)
        result = np.empty((len(rows), len(NAMES)), dtype=np.float32)
        parts = self.cut.parts([len(row) for row in rows])

        def run(part: list[int]) -> None:
            result[part] = self.engine.logits([rows[index] for index in part])

        if self.engine.layout.streams == 1 or len(parts) == 1:
            for part in parts:
                run(part)
        else:
            list(self.streams.map(run, reversed(parts)))  # the longest take longest, so they begin
        return result

    def close(self) -> None:
        """Let go of the threads."""
        self.streams.shutdown()
