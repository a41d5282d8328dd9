"""A circuit breaker: what failed is left alone for a while; then one request tries whether it is back."""

import time

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

REDIS_FAILURES = (RedisError, OSError, ValueError, TypeError, LookupError)
"""What redis-py raises where a server is gone or slow, and where what it says is not Redis's, or not an answer."""


def once_more() -> Retry:
    """For a connection that the server closed since it was last used; what took too long is not tried again."""
    return Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))


class Breaker:
    """Ask ``allows`` before each try, and tell what came of it. A probe that tells nothing counts as failed."""

    def __init__(self, retry_after_s: float) -> None:
        self._retry_after_s = retry_after_s
        self._open_until = 0.0

    @property
    def open(self) -> bool:
        """Whether something failed and nothing has succeeded since."""
        return self._open_until > 0.0

    def allows(self) -> bool:
        """Whether to try: always while nothing fails; else one, each time that the while is over."""
        if not self.open:
            return True
        now = time.monotonic()
        if now < self._open_until:
            return False
        self._open_until = now + self._retry_after_s
        return True

    def failed(self) -> bool:
        """Says whether that is news."""
        news, self._open_until = not self.open, time.monotonic() + self._retry_after_s
        return news

    def succeeded(self) -> None:
        """All may try again."""
        self._open_until = 0.0
