"""What a worker sees of two models in one trial: counts and sums, which add up over workers, and never a text.

The new one is the model on trial: the staged one, or, while a promotion is watched, the one that was promoted.
"""

from collections import Counter
from collections.abc import Sequence

from data.labels import NEUTRAL, Verdict


class Observed:
    """Counts of one trial. ``serving.rollout.gates`` reads them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pairs(self, old: Sequence[Verdict], new: Sequence[Verdict]) -> None:
        """Both judged the same reviews."""
        for one, another in zip(old, new, strict=True):
            shift = another.positive - one.positive
            neutral = int(another.sentiment == NEUTRAL) - int(one.sentiment == NEUTRAL)
            doubt = one.score - another.score
            self._add(pairs=1, disagreements=int((one.positive >= 0.5) != (another.positive >= 0.5)))
            self._add(shift=shift, shift_squared=shift**2, neutral=neutral, neutral_squared=neutral**2)
            self._add(doubt=doubt, doubt_squared=doubt**2)

    def failed(self, reviews: int, *, new: bool) -> None:
        """One of them could not judge so many."""
        self._add(**{f"{_who(new=new)}_errors": reviews})

    def answered(self, reviews: int, *, new: bool) -> None:
        """Callers were answered by one of them."""
        self._add(**{f"{_who(new=new)}_answers": reviews})

    def inferred(self, tokens: int, seconds: float, *, new: bool) -> None:
        """A call of the engine."""
        self._add(**{f"{_who(new=new)}_tokens": tokens, f"{_who(new=new)}_seconds": seconds})

    def _add(self, **counts: float) -> None:
        for name, count in counts.items():
            self.counts[name] += count  # type: ignore[assignment]  # sums are counts, too


def _who(*, new: bool) -> str:
    return "new" if new else "old"
