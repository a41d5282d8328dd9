"""A circuit breaker: what failed is left alone, and tried beside the requests until it is back."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from serving.lifecycle import ended

REDIS_FAILURES = (RedisError, OSError, ValueError, TypeError, LookupError)
"""What redis-py raises where a server is gone or slow, and where what it says is not Redis's, or not an answer."""


def once_more() -> Retry:
    """For a connection that the server closed since it was last used; what took too long is not tried again."""
    return Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))


class Breaker:
    """What failed is left alone until a probe of its own says that it is back; no caller waits to find that out."""

    def __init__(self, probe: Callable[[], Awaitable[object]], every_s: float) -> None:
        """``probe`` is made every so often while the breaker is open, and raises one of REDIS_FAILURES in vain."""
        self._probe, self._every_s = probe, every_s
        self._probing: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether something failed, and no probe has succeeded since."""
        return self._probing is not None

    def failed(self) -> bool:
        """Open it. Says whether that is news."""
        if self._probing is not None:
            return False
        self._probing = asyncio.create_task(self._until_back())
        return True

    async def close(self) -> None:
        """Probe no more."""
        if self._probing is not None:
            await ended(self._probing)

    async def _until_back(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._every_s)
                with suppress(*REDIS_FAILURES):
                    await self._probe()
                    return
        finally:
            self._probing = None
