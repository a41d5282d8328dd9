"""When a call may be tried again, and how long it waits before: pure, and the same for both clients."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a call is tried again: exponential backoff with full jitter, within a budget.

    Before retry ``n`` (from 1) the client waits a random time of up to ``first_wait_s * 2**(n - 1)``, at most
    ``longest_wait_s``, on top of what the service asked for with ``Retry-After``. A call is attempted at most
    ``max_attempts`` times; 1 turns retries off.

    The budget holds for all calls of a client together: ``n`` calls are retried at most ``budget_reserve +
    budget_ratio * n`` times, so that a service that is down is not sent a multiple of its load. Raises ValueError for
    values outside their ranges.
    """

    max_attempts: int = 4
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0
    budget_ratio: float = 0.1
    budget_reserve: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 100:
            raise ValueError(f"max_attempts is {self.max_attempts}; it must be 1 to 100")
        if not 0.0 <= self.first_wait_s <= self.longest_wait_s <= 3_600.0:
            raise ValueError(
                f"first_wait_s is {self.first_wait_s} and longest_wait_s {self.longest_wait_s}; "
                "they must hold 0 <= first_wait_s <= longest_wait_s <= 3600"
            )
        if not 0.0 <= self.budget_ratio <= 1.0:
            raise ValueError(f"budget_ratio is {self.budget_ratio}; it must be 0 to 1")
        if not 0 <= self.budget_reserve <= 1_000:
            raise ValueError(f"budget_reserve is {self.budget_reserve}; it must be 0 to 1000")

    def wait_s(self, retry: int, asked_s: float | None, draw: Callable[[], float]) -> float:
        """Seconds before retry number ``retry``, from 1. ``draw`` gives random numbers in [0, 1).

        The jitter comes after what the service asked for, so that its callers do not all come back at once.
        Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
        """
        ceiling_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (retry - 1))
        return (asked_s or 0.0) + draw() * ceiling_s


class RetryBudget:
    """Tokens that retries are paid with; every call brings a part of one. Safe for threads.

    The bucket is full at first and holds ``reserve`` tokens, at least one: quiet hours save up no storm of retries.
    Source: Finagle's ``RetryBudget`` and gRPC's retry throttling (proposal A6).
    """

    def __init__(self, ratio: float, reserve: int) -> None:
        self._ratio = ratio
        self._limit = max(1.0, float(reserve))
        self._tokens = float(reserve)
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Note a new call."""
        with self._lock:
            self._tokens = min(self._limit, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Whether a retry is allowed; if so, it is paid."""
        with self._lock:
            if self._tokens < 1.0 - 1e-9:  # ten tenths are one
                return False
            self._tokens -= 1.0
            return True


def retry_after_s(value: str | None, date: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait; None where there is none or it cannot be read.

    A point in time is seen from the answer's own ``date``, for the caller's clock may differ; without it from ``now``,
    which knows its time zone.
    """
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    until = _moment(value)
    if until is None:
        return None
    return max(0.0, (until - (_moment(date) or now)).total_seconds())


def _moment(value: str | None) -> datetime | None:
    """A date of HTTP, in any of its three forms (RFC 9110, 5.6.7)."""
    try:
        moment = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
