"""What a fault did to those who asked, and whether that is allowed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.chaos.load import Answer

OPENING_S = 0.3
"""Requests that began so soon after a fault are not among its times: breakers open meanwhile. At 50 ms, the quota may
wait three times (an answer, and the connection and answer of one more try), and the cache once."""
RUN = 20
"""The cache is in use again with the first of so many answers in a row, of all services, that come from it."""
TOLERANCE = 2e-4
"""Answers have four decimals."""
MOST_ADDED_MS, MOST_AGAIN_S = 20.0, 5.0


@dataclass(frozen=True, slots=True)
class Spell:
    """When a fault was watched, when it was there, and when it was mended, by ``time.perf_counter``."""

    began: float
    broken: float
    mending: float
    mended: float
    ended: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one fault."""

    fault: str
    requests: int
    failures: tuple[Answer, ...]
    unlike: int
    """Answers that say something else of a text than the answer before."""
    before_ms: float
    during_ms: float
    again_s: float | None
    """From mending until the cache was in use; None where it never was."""

    @property
    def added_ms(self) -> float:
        """What the fault adds to the 99th percentile."""
        return self.during_ms - self.before_ms

    @property
    def holds(self) -> tuple[bool, bool, bool]:
        """Whether nobody was failed, nobody had to wait, and the cache came back in time."""
        back = self.again_s is not None and self.again_s <= MOST_AGAIN_S
        return not self.failures and not self.unlike, self.added_ms <= MOST_ADDED_MS, back

    @property
    def row(self) -> str:
        """Of a table under ``HEAD``."""
        served, quick, back = ("yes" if holds else "NO" for holds in self.holds)
        again = "never" if self.again_s is None else f"{self.again_s:.1f}"
        return (
            f"| {self.fault} | {self.requests:,} | {len(self.failures)} | {self.unlike} | {served} | "
            f"{self.before_ms:.1f} | {self.during_ms:.1f} | {self.added_ms:+.1f} | {quick} | {again} | {back} |"
        )


HEAD = (
    "| fault | requests | failed | unlike | none | p99 before, ms | p99 during, ms | added "
    f"| at most {MOST_ADDED_MS:.0f} | cache in use again, s | at most {MOST_AGAIN_S:.0f} |\n"
    "|---|---:|---:|---:|---|---:|---:|---:|---|---:|---|"
)


def outcome(fault: str, answers: Iterable[Answer], spell: Spell) -> Outcome:
    """What the answers of that spell amount to; how long it takes to break and to mend is in no times."""
    there = sorted((a for a in answers if spell.began <= a.began < spell.ended), key=lambda answer: answer.began)
    return Outcome(
        fault,
        len(there),
        tuple(answer for answer in there if answer.status != 200),
        _unlike(there),
        _p99_ms(answer for answer in there if answer.ended < spell.broken),
        _p99_ms(answer for answer in there if spell.broken + OPENING_S <= answer.began < spell.mending),
        again(there, spell.mended),
    )


def again(answers: Sequence[Answer], mended: float) -> float | None:
    """How long after ``mended`` what was known came from the cache again; None where it does not yet."""
    known = sorted((a for a in answers if a.known and a.began >= mended), key=lambda answer: answer.began)
    run: list[Answer] = []
    for answer in known:
        run = [*run, answer] if answer.cached else []
        if len(run) == RUN:
            return run[0].ended - mended
    return None


def _unlike(answers: Iterable[Answer]) -> int:
    said: dict[str, float] = {}
    served = (answer for answer in answers if answer.status == 200)
    return sum(abs(said.setdefault(answer.text, answer.score) - answer.score) > TOLERANCE for answer in served)


def _p99_ms(answers: Iterable[Answer]) -> float:
    taken = [1e3 * (answer.ended - answer.began) for answer in answers]
    return float(np.quantile(taken, 0.99)) if taken else float("nan")
