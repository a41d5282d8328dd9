"""Redis behind the in-process cache; a module of its own, for its library takes a while to load."""

import json
import logging
import random
from collections.abc import Mapping, Sequence

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

from serving.breaker import REDIS_FAILURES, Breaker, once_more
from serving.gathering import Gathering
from serving.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

TTL_JITTER = 0.1
"""Entries expire up to this share earlier, so that those stored together do not vanish together."""
POOL_CONNECTIONS = 16
MOST_TOGETHER = 1_000
"""Keys of a command; of one caller more."""


class RedisCache:
    """A Redis server, asked with a short time limit and not at all for a while after it failed.

    One command of a kind is under way at a time; what comes meanwhile goes with the next. Under load a command each
    would take a third of the event loop.
    """

    def __init__(self, url: str, metrics: Metrics, *, ttl_s: int, timeout_ms: int, retry_after_s: float) -> None:
        timeout_s = timeout_ms / 1_000
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=POOL_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=once_more(),
        )
        self._redis: Redis = Redis.from_pool(pool)  # closes the pool with itself
        self._metrics = metrics
        self._ttl_s = ttl_s
        self._retry_after_s = retry_after_s
        self._breaker, self._writes = Breaker(retry_after_s), Breaker(retry_after_s)
        self._look_ups = Gathering(self._get, MOST_TOGETHER)
        self._keeping = Gathering(self._set, MOST_TOGETHER)

    async def get(self, keys: Sequence[str]) -> list[float | None]:
        """See ``SharedCache.get``."""
        return list(await self._look_ups(keys)) if keys else []

    async def set(self, entries: Mapping[str, float]) -> None:
        """See ``SharedCache.set``."""
        if entries:
            await self._keeping(list(entries.items()))

    async def _get(self, keys: list[str]) -> list[float | None]:
        if not self._breaker.allows():
            self._metrics.looked_up("shared", "bypass", len(keys))
            return [None] * len(keys)
        try:
            values = await self._redis.mget(keys)
            if not isinstance(values, list) or len(values) != len(keys):
                raise TypeError("MGET was answered with something else")
        except REDIS_FAILURES as error:
            self._failed(error)
            self._metrics.looked_up("shared", "error", len(keys))
            return [None] * len(keys)
        self._breaker.succeeded()
        found = [_parsed(value) for value in values]
        hits = len(keys) - found.count(None)
        self._metrics.looked_up("shared", "hit", hits)
        self._metrics.looked_up("shared", "miss", len(keys) - hits)
        return found

    async def _set(self, entries: list[tuple[str, float]]) -> list[None]:
        done = [None] * len(entries)
        if self._breaker.open or not self._writes.allows():
            return done  # whether Redis is back is for a look-up to find out
        pipeline = self._redis.pipeline(transaction=False)
        for key, positive in entries:
            expiry_s = max(1, round(self._ttl_s * random.uniform(1.0 - TTL_JITTER, 1.0)))
            pipeline.set(key, json.dumps({"positive": positive}), ex=expiry_s)
        try:
            await pipeline.execute()
            self._writes.succeeded()
        except ResponseError as error:  # read-only, full, or not allowed: it answers, so it may still be read
            self._writes.failed()
            log.warning("Redis refused a write (%s); none for %.1f s", type(error).__name__, self._retry_after_s)
        except REDIS_FAILURES as error:
            self._failed(error)
        return done

    async def connected(self) -> bool:
        """Whether a ping comes back; asks even while the cache is left alone."""
        try:
            return bool(await self._redis.ping())
        except REDIS_FAILURES:
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _failed(self, error: Exception) -> None:
        self._breaker.failed()
        log.warning("Redis failed (%s); not asked again for %.1f s", type(error).__name__, self._retry_after_s)


def _parsed(value: bytes | str | None) -> float | None:
    """A stored probability; anything else that Redis may hold under the key counts as a miss."""
    if value is None:
        return None
    try:
        positive = float(json.loads(value)["positive"])
    except (ValueError, TypeError, KeyError):
        return None
    return positive if 0.0 <= positive <= 1.0 else None
