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
PROBE = "probe"
"""A key that is no text's."""


class RedisCache:
    """A Redis server, asked with a short time limit, and not at all while it fails.

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
        self._reads, self._writes = Breaker(self._read, retry_after_s), Breaker(self._write, retry_after_s)
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
        if self._reads.open:
            self._metrics.looked_up("shared", "bypass", len(keys))
            return [None] * len(keys)
        try:
            values = await self._values(keys)
        except REDIS_FAILURES as error:
            self._failed(error)
            self._metrics.looked_up("shared", "error", len(keys))
            return [None] * len(keys)
        found = [_parsed(value) for value in values]
        hits = len(keys) - found.count(None)
        self._metrics.looked_up("shared", "hit", hits)
        self._metrics.looked_up("shared", "miss", len(keys) - hits)
        return found

    async def _set(self, entries: list[tuple[str, float]]) -> list[None]:
        done = [None] * len(entries)
        if self._reads.open or self._writes.open:
            return done
        pipeline = self._redis.pipeline(transaction=False)
        for key, positive in entries:
            expiry_s = max(1, round(self._ttl_s * random.uniform(1.0 - TTL_JITTER, 1.0)))
            pipeline.set(key, json.dumps({"positive": positive}), ex=expiry_s)
        try:
            await pipeline.execute()
        except ResponseError as error:  # read-only, full, or not allowed: it answers, so it may still be read
            if self._writes.failed():
                log.warning("Redis refuses writes (%s); none until it takes them again", type(error).__name__)
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
        await self._reads.close()
        await self._writes.close()
        await self._redis.aclose()

    async def _values(self, keys: Sequence[str]) -> list[bytes | str | None]:
        values = await self._redis.mget(keys)
        if not isinstance(values, list) or len(values) != len(keys):
            raise TypeError("MGET was answered with something else")
        return values

    async def _read(self) -> None:
        await self._values([PROBE])

    async def _write(self) -> None:
        await self._redis.set(PROBE, "", ex=1)

    def _failed(self, error: Exception) -> None:
        if self._reads.failed():
            log.warning("Redis failed (%s); not asked until it answers again", type(error).__name__)


def _parsed(value: bytes | str | None) -> float | None:
    """A stored probability; anything else that Redis may hold under the key counts as a miss."""
    if value is None:
        return None
    try:
        positive = float(json.loads(value)["positive"])
    except (ValueError, TypeError, KeyError):
        return None
    return positive if 0.0 <= positive <= 1.0 else None
