"""The course of a call: after each attempt, whether it is over, fails, or waits for another one.

It is pure: both clients drive it, each with its own way to send and to sleep.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nsmc_sentiment.calls import Call
from nsmc_sentiment.errors import DeadlineExceeded, UnexpectedAnswer
from nsmc_sentiment.outcomes import Answered, Broken, Outcome, error_of, passing, read, settles
from nsmc_sentiment.retry import RetryBudget, RetryPolicy

T = TypeVar("T")
log = logging.getLogger("nsmc_sentiment")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The call is over, and this is what it was for."""

    value: T


@dataclass(frozen=True, slots=True)
class Pause:
    """There is another attempt after this time."""

    wait_s: float


class Course(Generic[T]):
    """One call under way. Its deadline counts from here, and covers all attempts and the waits between them.

    ``clock`` is monotonic, in seconds; ``draw`` gives random numbers in [0, 1).
    """

    def __init__(
        self,
        call: Call[T],
        timeout_s: float,
        policy: RetryPolicy,
        budget: RetryBudget,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        budget.deposit()
        self.call = call
        self._timeout_s = timeout_s
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._draw = draw
        self._ends = clock() + timeout_s
        self._attempts = 0

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self._ends - self._clock())

    @property
    def late(self) -> Broken:
        """What comes of an attempt that the deadline ends."""
        return Broken(DeadlineExceeded, f"no answer within {self._timeout_s} s")

    def check(self) -> None:
        """Raises DeadlineExceeded once the deadline has passed."""
        if not self.left_s:
            raise error_of(self.late, self.call)

    def after(self, outcome: Outcome) -> Done[T] | Pause:
        """What to do after an attempt. Raises the SentimentError that the call ends with."""
        self._attempts += 1
        if isinstance(outcome, Answered) and settles(outcome, self.call):
            try:
                return Done(read(outcome, self.call))
            except UnexpectedAnswer:  # the JSON of a gateway that cannot reach the service is no answer of it
                if not passing(outcome):
                    raise
        if not passing(outcome):
            raise error_of(outcome, self.call)
        asked_s = outcome.retry_after_s if isinstance(outcome, Answered) else None
        wait_s = self._policy.wait_s(self._attempts, asked_s, self._draw)
        over = self._over(wait_s)
        attempts = f"{self._attempts} attempt{'s' if self._attempts > 1 else ''}"
        if over:
            raise error_of(outcome, self.call, f"; given up after {attempts}: {over}")
        log.info("request %s goes on in %.2f s, after %s", self.call.request_id, wait_s, attempts)
        return Pause(wait_s)

    def _over(self, wait_s: float) -> str:
        """Why there is no further attempt after ``wait_s``; empty where there is one, which is then paid for."""
        if self._attempts >= self._policy.max_attempts:
            return "that is max_attempts"
        if wait_s >= self.left_s:
            return f"the next one, in {wait_s:.1f} s, would be after the deadline of {self._timeout_s} s"
        if not self._budget.withdraw():
            return "the retry budget is spent"
        return ""
