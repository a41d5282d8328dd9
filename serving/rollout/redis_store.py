"""The state of a rollout in Redis, for a fleet: one key is the truth, a channel says that it changed."""

import asyncio
import json
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from data.ledger import Entry, LedgerBroken
from serving.errors import RolloutUnreachable
from serving.rollout.observed import Pair
from serving.rollout.state import State
from serving.rollout.store import ALIVE_S, KEPT_S, LOGGED, Change, entry_of, summed

TIMEOUT_S = 2.0
CHANGE = """
local state, ledger, changed, made = unpack(KEYS)
local present, last, next_state, next_entry, generation, token = unpack(ARGV)
if redis.call('GET', made) == token then return 1 end -- asked again because the answer was lost
if (redis.call('GET', state) or '') ~= present then return 0 end
if (redis.call('LINDEX', ledger, -1) or '') ~= last then return 0 end
redis.call('SET', state, next_state)
redis.call('RPUSH', ledger, next_entry)
redis.call('SET', made, token)
redis.call('PUBLISH', changed, generation)
return 1
"""
"""State and ledger together, if both are as they were read. May be sent twice: the token of the last change is kept."""


class RedisStore:
    """Keys under ``nsmc:rollout:NAME:``. A change is one script, so that two operators never both succeed."""

    def __init__(self, url: str, name: str) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            decode_responses=True,
            max_connections=8,
            retry=Retry(NoBackoff(), 1),  # of a connection that Redis closed since
        )
        self._prefix = f"nsmc:rollout:{name}:"
        self._listening: PubSub | None = None

    async def read(self) -> State | None:
        """See ``StateStore``."""
        with _reaching():
            return _state(await self._redis.get(self._key("state")))

    async def change(self, change: Change, expected: int) -> bool:
        """See ``StateStore``. Where this raises, the change may have been made all the same."""
        with _reaching():
            state, ledger, changed, made = (self._key(name) for name in ("state", "ledger", "changed", "made"))
            present, last = await self._redis.get(state) or "", await self._redis.lindex(ledger, -1) or ""
            if (State.from_json(present).generation if present else 0) != expected:
                return False
            entry = entry_of(change, Entry.from_json(str(last)) if last else None)
        with _reaching("; whether the change was made, `status` says as soon as it can be"):
            following = (change.state.to_json(), entry.to_json(), str(change.state.generation), uuid4().hex)
            done = self._redis.eval(CHANGE, 4, state, ledger, changed, made, present, last, *following)
            return bool(await cast("Awaitable[int]", done))

    async def history(self) -> list[Entry]:
        """See ``StateStore``."""
        with _reaching():
            return [Entry.from_json(str(line)) for line in await self._redis.lrange(self._key("ledger"), 0, -1)]

    async def report(self, worker: str, report: Mapping[str, Any], trial: int, observed: Mapping[str, float]) -> None:
        """See ``StateStore``."""
        with _reaching():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.set(self._key(f"worker:{worker}"), json.dumps(report), px=round(ALIVE_S * 1_000))
                if observed:
                    pipeline.hset(self._key(f"observed:{trial}"), worker, json.dumps(observed))
                    pipeline.expire(self._key(f"observed:{trial}"), KEPT_S)
                await pipeline.execute()

    async def reports(self) -> list[dict[str, Any]]:
        """See ``StateStore``."""
        with _reaching():
            keys = sorted([key async for key in self._redis.scan_iter(self._key("worker:*"), count=1_000)])
            found = await self._redis.mget(keys) if keys else []
            return [json.loads(report) for report in found if report]

    async def observed(self, trial: int) -> dict[str, float]:
        """See ``StateStore``."""
        with _reaching():
            return summed(map(json.loads, await self._redis.hvals(self._key(f"observed:{trial}"))))

    async def log(self, worker: str, trial: int, pairs: Sequence[Pair]) -> None:
        """See ``StateStore``."""
        with _reaching():
            key = self._key(f"shadow:{trial}")
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.rpush(key, *(pair.to_json() for pair in pairs))
                pipeline.ltrim(key, 0, LOGGED - 1)
                pipeline.expire(key, KEPT_S)
                await pipeline.execute()

    async def logged(self, trial: int) -> list[Pair]:
        """See ``StateStore``."""
        with _reaching():
            return [Pair.from_json(line) for line in await self._redis.lrange(self._key(f"shadow:{trial}"), 0, -1)]

    async def changed(self, timeout_s: float) -> None:
        """See ``StateStore``."""
        with _reaching():
            if self._listening is None:
                self._listening = self._redis.pubsub(ignore_subscribe_messages=True)
                await self._listening.subscribe(self._key("changed"))
                return  # it may have changed while nobody listened
            try:
                async with asyncio.timeout(timeout_s):
                    while await self._listening.get_message(timeout=timeout_s) is None:
                        pass
            except TimeoutError:
                pass
            except (RedisError, OSError):
                await self._hang_up()
                raise

    async def close(self) -> None:
        """See ``StateStore``."""
        await self._hang_up()
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _hang_up(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(RedisError, OSError):
                await listening.aclose()  # type: ignore[no-untyped-call]

    def _key(self, name: str) -> str:
        return self._prefix + name


def _state(text: str | bytes | None) -> State | None:
    return None if text is None else State.from_json(text)


@contextmanager
def _reaching(then: str = "") -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise RolloutUnreachable(
            f"Redis, which keeps the rollout, cannot be reached: {type(error).__name__}{then}"
        ) from error
    except (ValueError, LedgerBroken) as error:
        raise RolloutUnreachable(f"Redis holds a rollout that nobody here wrote: {error}") from error
