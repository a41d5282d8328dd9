"""Answers that were given before: an in-process LRU cache, and behind it Redis.

What is kept is P(positive). Keys are digests: they name the model, the preprocessing and the text, and tell none of
them. A miss is None. No cache ever fails a request: Redis that is down, slow or read-only is left alone for a while.
"""

import hashlib
import json
import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from cachetools import LRUCache
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError, ResponseError

from data.bundle import Manifest
from serving.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

TTL_JITTER = 0.1
"""Entries expire up to this share earlier, so that those stored together do not vanish together."""
POOL_CONNECTIONS = 16


class CacheKeys:
    """Makes keys; unlike those of any other model, precision, preprocessing or treatment of long texts."""

    def __init__(self, manifest: Manifest, precision: str, truncate: bool) -> None:
        parts = (manifest.digest, precision, manifest.fingerprint, "truncate" if truncate else "whole", "")
        self._before = hashlib.sha256("\x00".join(parts).encode())

    def of(self, texts: Iterable[str]) -> list[str]:
        """The key of each cleaned text."""
        keys = []
        for text in texts:
            digest = self._before.copy()
            digest.update(text.encode())
            keys.append(digest.hexdigest())
        return keys


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a caller allows: to be answered from a cache, and to have the answer kept in one (RFC 9111, 5.2.1)."""

    ask: bool = True
    keep: bool = True

    @classmethod
    def of(cls, cache_control: str) -> Self:
        """What a ``Cache-Control`` header of a request says."""
        directives = {part.partition("=")[0].strip().lower() for part in cache_control.split(",")}
        return cls(ask=not directives & {"no-cache", "no-store"}, keep="no-store" not in directives)


ASK_AND_KEEP = Reuse()


class SharedCache(Protocol):
    """A cache beyond this process; many keys at once, because a batch asks once for all its texts."""

    async def get(self, keys: Sequence[str]) -> list[float | None]:
        """What is known of each key, in order; None for a miss."""

    async def set(self, entries: Mapping[str, float]) -> None:
        """Keep ``entries``; may forget them at any time."""

    async def connected(self) -> bool:
        """Whether it answers now."""

    async def close(self) -> None:
        """Let go of connections."""


class RedisCache:
    """A Redis server, asked with a short time limit and not at all for a while after it failed."""

    def __init__(self, url: str, metrics: Metrics, *, ttl_s: int, timeout_ms: int, retry_after_s: float) -> None:
        timeout_s = timeout_ms / 1_000
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=POOL_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        self._redis: Redis = Redis.from_pool(pool)  # closes the pool with itself
        self._metrics = metrics
        self._ttl_s = ttl_s
        self._retry_after_s = retry_after_s
        self._open_until = 0.0
        self._writes_open_until = 0.0

    async def get(self, keys: Sequence[str]) -> list[float | None]:
        """See ``SharedCache.get``."""
        if not keys or self._is_open():
            self._metrics.looked_up("shared", "bypass", len(keys))
            return [None] * len(keys)
        try:
            found = [_parsed(value) for value in await self._redis.mget(keys)]
        except (RedisError, OSError) as error:
            self._failed(error)
            self._metrics.looked_up("shared", "error", len(keys))
            return [None] * len(keys)
        hits = len(keys) - found.count(None)
        self._metrics.looked_up("shared", "hit", hits)
        self._metrics.looked_up("shared", "miss", len(keys) - hits)
        return found

    async def set(self, entries: Mapping[str, float]) -> None:
        """See ``SharedCache.set``."""
        if not entries or self._is_open() or time.monotonic() < self._writes_open_until:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, positive in entries.items():
            expiry_s = max(1, round(self._ttl_s * random.uniform(1.0 - TTL_JITTER, 1.0)))
            pipeline.set(key, json.dumps({"positive": positive}), ex=expiry_s)
        try:
            await pipeline.execute()
        except ResponseError as error:  # read-only, full, or not allowed: it answers, so it may still be read
            self._writes_open_until = time.monotonic() + self._retry_after_s
            log.warning("Redis refused a write (%s); none for %.1f s", type(error).__name__, self._retry_after_s)
        except (RedisError, OSError) as error:
            self._failed(error)

    async def connected(self) -> bool:
        """Whether a ping comes back; asks even while the cache is left alone."""
        try:
            return bool(await self._redis.ping())
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _is_open(self) -> bool:
        return time.monotonic() < self._open_until

    def _failed(self, error: Exception) -> None:
        self._open_until = time.monotonic() + self._retry_after_s
        log.warning("Redis failed (%s); not asked again for %.1f s", type(error).__name__, self._retry_after_s)


class TieredCache:
    """The least recently used entries of this process, and behind them a shared cache that fills them."""

    def __init__(self, entries: int, metrics: Metrics, shared: SharedCache | None = None) -> None:
        """``entries`` of 0 turns the in-process level off."""
        self._local: LRUCache[str, float] = LRUCache(maxsize=entries)
        self._metrics = metrics
        self._shared = shared

    @property
    def has_shared(self) -> bool:
        """Whether there is a shared level at all."""
        return self._shared is not None

    def peek(self, key: str) -> float | None:
        """Look one key up in this process."""
        return self._local.get(key)

    async def get(self, keys: Sequence[str], reuse: Reuse = ASK_AND_KEEP) -> list[float | None]:
        """What is known of each key, in order; None for a miss. Nothing is, where the caller does not allow it."""
        if not reuse.ask:
            self._metrics.looked_up("local", "bypass", len(keys))
            return [None] * len(keys)
        found = [self._local.get(key) for key in keys]
        missing = [key for key, value in zip(keys, found, strict=True) if value is None]
        self._metrics.looked_up("local", "hit", len(keys) - len(missing))
        self._metrics.looked_up("local", "miss", len(missing))
        if self._shared is None or not missing:
            return found
        shared = dict(zip(missing, await self._shared.get(missing), strict=True))
        self.keep({key: value for key, value in shared.items() if value is not None})
        return [shared[key] if value is None else value for key, value in zip(keys, found, strict=True)]

    def keep(self, entries: Mapping[str, float]) -> None:
        """Remember ``entries`` in this process."""
        if self._local.maxsize:
            self._local.update(entries)

    async def share(self, entries: Mapping[str, float]) -> None:
        """Remember ``entries`` in the shared level."""
        if self._shared is not None:
            await self._shared.set(entries)

    async def connected(self) -> bool:
        """Whether the shared level answers; False where there is none."""
        return self._shared is not None and await self._shared.connected()

    async def close(self) -> None:
        """Close the shared level."""
        if self._shared is not None:
            await self._shared.close()


def _parsed(value: bytes | str | None) -> float | None:
    """A stored probability; anything else that Redis may hold under the key counts as a miss."""
    if value is None:
        return None
    try:
        positive = float(json.loads(value)["positive"])
    except (ValueError, TypeError, KeyError):
        return None
    return positive if 0.0 <= positive <= 1.0 else None
