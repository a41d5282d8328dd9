"""Keys in Redis, for a fleet: a hash of JSON by id."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError

from serving.access.keys import Key
from serving.access.store import checked, revoked
from serving.errors import KeysUnreachable

TIMEOUT_S = 2.0
ATTEMPTS = 10


class RedisKeys:
    """See ``serving.access.store.KeyStore``. One key of Redis, ``nsmc:keys:NAME``, without an expiry."""

    def __init__(self, url: str, name: str) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            decode_responses=True,
            retry=Retry(NoBackoff(), 1),  # of a connection that Redis closed since
        )
        self._hash = f"nsmc:keys:{name}"

    async def read(self) -> list[Key]:
        """See ``KeyStore``."""
        with _reaching():
            return _keys(await self._redis.hgetall(self._hash))

    async def add(self, key: Key) -> None:
        """See ``KeyStore``."""
        await self._change(lambda present: checked(key, present))

    async def revoke(self, identifier: str, now: float) -> Key:
        """See ``KeyStore``."""
        return await self._change(lambda present: revoked(identifier, present, now))

    async def close(self) -> None:
        """See ``KeyStore``."""
        await self._redis.aclose()

    async def _change(self, made: Callable[[list[Key]], Key]) -> Key:
        """Write the key that ``made`` makes of what is there, unless somebody else writes meanwhile; then again."""
        for _ in range(ATTEMPTS):
            with _reaching():
                async with self._redis.pipeline() as pipeline:
                    await pipeline.watch(self._hash)
                    key = made(_keys(await pipeline.hgetall(self._hash)))
                    pipeline.multi()  # type: ignore[no-untyped-call]
                    pipeline.hset(self._hash, key.id, json.dumps(key.as_dict()))
                    try:
                        await pipeline.execute()
                    except WatchError:
                        continue
                    return key
        raise KeysUnreachable("somebody else changes keys all the time; try again")


def _keys(content: Any) -> list[Key]:
    try:
        return [Key.from_dict(json.loads(raw)) for raw in content.values()]
    except ValueError as error:
        raise KeysUnreachable("what Redis holds is no key") from error


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, UnicodeDecodeError) as error:
        raise KeysUnreachable(f"Redis cannot be asked for keys: {type(error).__name__}") from error
