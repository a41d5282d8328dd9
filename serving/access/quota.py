"""How many texts a caller may have judged in a minute: counted in Redis where there is one, else by each worker.

The window slides: what was asked in the minute before counts by the share of it that still lies within the last sixty
seconds (``limits``, sliding window counter). While Redis is out, each worker counts for itself, so that a caller may
get as much from each of them: a quota is no reason to answer nobody.
"""

import ipaddress
import logging
import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool

from serving.breaker import REDIS_FAILURES, Breaker, once_more
from serving.errors import QuotaExceeded, RequestInvalid

log = logging.getLogger(__name__)

WINDOW_S = 60
CONNECTIONS = 16
FEWEST = 64
"""A quota is at least what a stream judges at a time."""
PROBE = RateLimitItemPerMinute(1 << 40)
"""More than is ever asked."""
_IPV6_NETWORK = 64
"""Bits of an address that one caller has for itself, at least."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may have, what of it is left, and in how many seconds there is more. See RFC draft "RateLimit"."""

    name: str
    texts: int
    left: int
    more_in_s: int

    @property
    def headers(self) -> dict[str, str]:
        """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.texts};w={WINDOW_S}',
            "RateLimit": f'"{self.name}";r={self.left};t={self.more_in_s}',
        }


class Quota:
    """The quotas of all callers: one for keys, one for addresses that come without; None is no quota."""

    def __init__(
        self,
        key_texts: int | None,
        address_texts: int | None,
        *,
        redis_url: str | None = None,
        name: str = "default",
        timeout_ms: int = 50,
        retry_after_s: float = 5.0,
    ) -> None:
        """With ``redis_url`` all workers of the fleet ``name`` count together; see ``serving.settings``."""
        self._texts = {"key": key_texts, "address": address_texts}
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._pool: BlockingConnectionPool | None = None
        self._breaker = Breaker(self._probe, retry_after_s)
        if redis_url and (key_texts or address_texts):
            timeout_s = timeout_ms / 1e3
            self._pool = BlockingConnectionPool.from_url(
                redis_url,
                max_connections=CONNECTIONS,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=once_more(),
            )
            storage = RedisStorage(
                f"async+{redis_url.replace('unix://', 'redis+unix://', 1)}",
                implementation="redispy",
                key_prefix=f"nsmc:quota:{name}",
                connection_pool=self._pool,  # type: ignore[arg-type]
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    async def take(self, key_id: str | None, address: str, texts: int) -> Allowance | None:
        """Count ``texts`` of whoever asks; None where there is no quota for such callers.

        Raises QuotaExceeded, and RequestInvalid for more than a whole window has. Nothing of what is refused counts.
        """
        name, who = ("address", network(address)) if key_id is None else ("key", key_id)
        allowed = self._texts[name]
        if allowed is None:
            return None
        if texts > allowed:
            raise RequestInvalid(f"texts holds {texts} reviews; the quota is {allowed} in {WINDOW_S} s", "texts")
        item = RateLimitItemPerMinute(allowed)
        if self._shared is not None and not self._breaker.open:
            try:
                return await self._counted_together(self._shared, item, name, who, texts)
            except REDIS_FAILURES as error:
                if self._breaker.failed():
                    kind = type(error).__name__
                    log.warning("quotas cannot be counted in Redis (%s); each worker counts by itself", kind)
        return await _counted(self._local, item, name, who, texts)

    async def _probe(self) -> None:
        """Count something that nobody asked."""
        if self._shared is not None:
            await self._counted_together(self._shared, PROBE, "probe", "", 1)

    async def _counted_together(
        self, limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerMinute, name: str, who: str, texts: int
    ) -> Allowance:
        try:
            return await _counted(limiter, item, name, who, texts)
        except QuotaExceeded as refused:
            if refused.left == item.amount:
                raise TypeError("Redis refuses what it has not counted") from refused
            raise

    async def close(self) -> None:
        """Let go of connections."""
        await self._breaker.close()
        if self._pool is not None:
            await self._pool.aclose()


async def _counted(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerMinute, name: str, who: str, texts: int
) -> Allowance:
    taken = await limiter.hit(item, name, who, cost=texts)
    stats = await limiter.get_window_stats(item, name, who)
    more_in_s = max(1, math.ceil(stats.reset_time - time.time()))
    allowance = Allowance(name, item.amount, stats.remaining, more_in_s)
    if not taken:
        raise QuotaExceeded(
            f"{texts} would be over the quota of {item.amount} reviews in {WINDOW_S} s; {stats.remaining} are left",
            allowance.headers,
            more_in_s,
            stats.remaining,
        )
    return allowance


def network(address: str) -> str:
    """The address, or of version 6 the network that one caller has for itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False)) if parsed.version == 6 else str(parsed)
