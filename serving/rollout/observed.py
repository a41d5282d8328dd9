"""What a worker sees of two models in one trial: counts and sums, which add up over workers, and never a text.

The new one is the model on trial: the staged one, or, while a promotion is watched, the one that was promoted.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Self

from data.labels import NEUTRAL, Verdict

PENDING = 4_096
"""So many pairs wait at most to be logged; more are counted, but not logged."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A line of the shadow log: what both said of one review, P(positive) and sentiment; ``text`` is a digest."""

    text: str
    old: float
    new: float
    old_sentiment: str
    new_sentiment: str

    @classmethod
    def of(cls, text: str, old: Verdict, new: Verdict) -> Self:
        """Both judged ``text``, of which 96 bits of BLAKE2 are kept: equal texts are known as such."""
        digest = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        return cls(digest, round(old.positive, 6), round(new.positive, 6), old.sentiment, new.sentiment)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(astuple(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """What ``to_json`` made. Raises ValueError."""
        values = json.loads(line)
        if not isinstance(values, list) or [type(value) for value in values] != [str, float, float, str, str]:
            raise ValueError("it is no line of a shadow log")
        return cls(*values)


class Observed:
    """Counts of one trial, which ``serving.rollout.gates`` reads, and the pairs that are still to be logged."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.pending: list[Pair] = []

    def pairs(self, texts: Sequence[str], old: Sequence[Verdict], new: Sequence[Verdict]) -> None:
        """Both judged the same reviews."""
        for text, one, another in zip(texts, old, new, strict=True):
            shift = another.positive - one.positive
            neutral = int(another.sentiment == NEUTRAL) - int(one.sentiment == NEUTRAL)
            doubt = one.score - another.score
            self._add(pairs=1, disagreements=int((one.positive >= 0.5) != (another.positive >= 0.5)))
            self._add(shift=shift, shift_squared=shift**2, neutral=neutral, neutral_squared=neutral**2)
            self._add(doubt=doubt, doubt_squared=doubt**2)
            if len(self.pending) < PENDING:
                self.pending.append(Pair.of(text, one, another))

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
