import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from data.bundle import Bundle
from data.probability import Calibration
from serving.cache import RedisCache, TieredCache, cache_key

TEXT = "비밀스러운 리뷰"


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_url, ttl_s=3_600, timeout_ms=200, retry_after_s=60.0)
    yield cache
    await cache.close()


async def test_redis_gives_back_what_was_kept(cache: RedisCache) -> None:
    await cache.set({"a": 0.25, "b": 0.75})
    assert await cache.get(["b", "missing", "a"]) == [0.75, None, 0.25]
    assert await cache.connected()


async def test_redis_holds_json_that_expires_and_no_text(cache: RedisCache, redis_url: str, bundle: Bundle) -> None:
    key = cache_key(bundle.manifest, "fp32", TEXT, truncate=False)
    await cache.set({key: 0.25})
    async with Redis.from_url(redis_url) as redis:
        assert await redis.get(key) == b'{"positive": 0.25}'
        assert 3_200 <= await redis.ttl(key) <= 3_600
        assert TEXT.encode() not in b"".join([stored async for stored in redis.scan_iter()])


@pytest.mark.parametrize(
    "value", ["", "nonsense", "[]", "{}", '{"positive": "x"}', '{"positive": 7}', '{"positive": null}']
)
async def test_garbage_under_a_key_is_a_miss(cache: RedisCache, redis_url: str, value: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.set("a", value)
    assert await cache.get(["a"]) == [None]


async def test_redis_that_is_down_is_a_miss_and_then_left_alone(free_port: int) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{free_port}", ttl_s=60, timeout_ms=100, retry_after_s=60.0)
    assert await cache.get(["a", "b"]) == [None, None]
    started = time.perf_counter()
    for _ in range(1_000):
        await cache.get(["a"])
        await cache.set({"a": 0.5})
    assert time.perf_counter() - started < 0.5
    assert not await cache.connected()
    await cache.close()


async def test_redis_that_hangs_costs_its_time_limit_once() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cache = RedisCache(f"redis://127.0.0.1:{port}", ttl_s=60, timeout_ms=50, retry_after_s=60.0)
        started = time.perf_counter()
        assert await cache.get(["a"]) == [None]
        assert await cache.get(["a"]) == [None]
        assert time.perf_counter() - started < 1.0
        await cache.close()


async def test_redis_that_is_read_only_still_answers_reads(cache: RedisCache, redis_url: str) -> None:
    await cache.set({"a": 0.25})
    async with Redis.from_url(redis_url) as redis:
        await redis.replicaof("127.0.0.1", "1")
        await cache.set({"b": 0.5})
        await cache.set({"c": 0.75})
    assert await cache.get(["a", "b"]) == [0.25, None]


async def test_redis_is_asked_again_after_a_while(redis_url: str) -> None:
    cache = RedisCache(redis_url, ttl_s=60, timeout_ms=200, retry_after_s=0.1)
    cache._failed(TimeoutError())
    assert await cache.get(["a"]) == [None]
    await asyncio.sleep(0.15)
    await cache.set({"a": 0.25})
    assert await cache.get(["a"]) == [0.25]
    await cache.close()


async def test_the_local_level_is_asked_first_and_filled_from_behind(cache: RedisCache) -> None:
    await cache.set({"a": 0.25})
    tiers = TieredCache(10, cache)
    assert await tiers.get(["a", "b"]) == [0.25, None]
    assert tiers.peek("a") == 0.25
    assert tiers.has_shared


async def test_the_local_level_forgets_the_least_recently_used() -> None:
    tiers = TieredCache(2)
    tiers.keep({"a": 0.1, "b": 0.2})
    await tiers.get(["a"])
    tiers.keep({"c": 0.3})
    assert await tiers.get(["a", "b", "c"]) == [0.1, None, 0.3]
    assert not tiers.has_shared
    assert not await tiers.connected()


async def test_a_local_level_of_no_entries_keeps_nothing() -> None:
    tiers = TieredCache(0)
    tiers.keep({"a": 0.1})
    assert await tiers.get(["a"]) == [None]


def test_keys_cross_neither_models_nor_precision_nor_preprocessing_nor_treatment(bundle: Bundle) -> None:
    manifest = bundle.manifest
    keys = {
        cache_key(manifest, "fp32", TEXT, truncate=False),
        cache_key(manifest, "fp32", TEXT, truncate=True),
        cache_key(manifest, "int8", TEXT, truncate=False),
        cache_key(manifest, "fp32", TEXT + "!", truncate=False),
        cache_key(replace(manifest, calibration=Calibration(bias=0.1)), "fp32", TEXT, truncate=False),
        cache_key(replace(manifest, fingerprint="f" * 64), "fp32", TEXT, truncate=False),
    }
    assert len(keys) == 6
    assert cache_key(replace(manifest, lineage={}), "fp32", TEXT, truncate=False) in keys
