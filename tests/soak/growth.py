"""Whether what a process takes grows: medians of like phases, early and late, and the trend between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

WARM_UP, EARLY, LATE = 0.1, 1 / 6, 0.8
"""Shares of the run: what comes before the first is warm-up, for the second it is looked at, and again from the third:
of 30 minutes, from minute 3 to 8 and from 24 on."""
FEWEST = 3
"""Samples on either side."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes at a moment. ``pss_mib`` counts a page that several share by its share; ``anonymous_mib`` is
    what belongs to no file."""

    rss_mib: float
    pss_mib: float
    anonymous_mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """All processes at a moment, in seconds since the beginning; ``quiet`` where nothing was being changed."""

    at_s: float
    quiet: bool
    usages: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Compared:
    """The quiet samples after the warm-up, and those at the end."""

    early: tuple[Sample, ...]
    late: tuple[Sample, ...]
    all: tuple[Sample, ...]
    """From the first to the last."""

    def growth(self, of: Callable[[Sample], float]) -> "Growth":
        """Of one figure."""
        hours = [sample.at_s / 3_600 for sample in self.all]
        return Growth(median(map(of, self.early)), median(map(of, self.late)), slope(hours, list(map(of, self.all))))


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one figure, from the median after the warm-up to that at the end."""

    before: float
    after: float
    per_hour: float
    """The trend of all samples between, which one odd sample does not change."""

    @property
    def more(self) -> float:
        """By how much."""
        return self.after - self.before

    @property
    def share(self) -> float:
        """The same, as a share of what was there."""
        return self.more / self.before


def compared(samples: Sequence[Sample], seconds: float, warm_s: float) -> Compared | None:
    """Early and late samples of a run of ``seconds``; None where there are too few.

    ``warm_s`` is when everything had been done that is done again and again: the warm-up lasts until then at least.
    """
    begin = max(WARM_UP * seconds, warm_s)
    there = tuple(sample for sample in samples if sample.quiet and begin <= sample.at_s)
    early = tuple(sample for sample in there if sample.at_s < begin + EARLY * seconds)
    late = tuple(sample for sample in there if sample.at_s >= LATE * seconds)
    early, late = max(early, there[:FEWEST], key=len), max(late, there[-FEWEST:], key=len)
    if len(early) < FEWEST or len(late) < FEWEST or early[-1].at_s >= late[0].at_s:
        return None
    return Compared(early, late, there)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes of all pairs (Theil, 1950); 0 for fewer than two moments."""
    pairs = combinations(zip(times, values, strict=True), 2)
    slopes = [(later - value) / (then - at) for (at, value), (then, later) in pairs if then != at]
    return median(slopes) if slopes else 0.0
