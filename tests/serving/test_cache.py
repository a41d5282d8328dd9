import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from data.bundle import Bundle, Manifest
from data.probability import Calibration
from serving.cache import CacheKeys, Reuse, TieredCache
from serving.redis_cache import RedisCache
from serving.telemetry.metrics import Metrics
from tests.redis_server import RedisServer

TEXT = "비밀스러운 리뷰"


def key_of(manifest: Manifest, precision: str, text: str, truncate: bool) -> str:
    (key,) = CacheKeys(manifest, precision, truncate).of([text])
    return key


@pytest.fixture
async def cache(redis_url: str, metrics: Metrics) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_url, metrics, ttl_s=3_600, timeout_ms=200, retry_after_s=60.0)
    yield cache
    await cache.close()


async def test_redis_gives_back_what_was_kept(cache: RedisCache) -> None:
    await cache.set({"a": 0.25, "b": 0.75})
    assert await cache.get(["b", "missing", "a"]) == [0.75, None, 0.25]
    assert await cache.connected()


async def test_redis_holds_json_that_expires_and_no_text(cache: RedisCache, redis_url: str, bundle: Bundle) -> None:
    key = key_of(bundle.manifest, "fp32", TEXT, False)
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


async def test_redis_that_is_down_is_a_miss_and_then_left_alone(free_port: int, metrics: Metrics) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{free_port}", metrics, ttl_s=60, timeout_ms=100, retry_after_s=60.0)
    assert await cache.get(["a", "b"]) == [None, None]
    started = time.perf_counter()
    for _ in range(1_000):
        await cache.get(["a"])
        await cache.set({"a": 0.5})
    assert time.perf_counter() - started < 0.5
    assert not await cache.connected()
    await cache.close()


async def test_redis_that_hangs_costs_its_time_limit_once(metrics: Metrics) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cache = RedisCache(f"redis://127.0.0.1:{port}", metrics, ttl_s=60, timeout_ms=50, retry_after_s=60.0)
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


async def test_redis_that_is_back_is_found_without_a_look_up(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    cache = RedisCache(server.url, metrics, ttl_s=60, timeout_ms=200, retry_after_s=0.05)
    await cache.set({"a": 0.25})
    server.stop()
    assert await cache.get(["a"]) == [None]
    await asyncio.sleep(0.2)
    await cache.set({"a": 0.25})
    server.start()
    assert await cache.get(["a"]) == [None], "probes in vain leave it alone"
    await asyncio.sleep(0.2)
    await cache.set({"a": 0.5})
    assert await cache.get(["a"]) == [0.5]
    assert len(caplog.messages) == 1, "said once, not at each probe"
    await cache.close()
    server.stop()


async def test_nobody_waits_while_a_hung_redis_is_tried(metrics: Metrics) -> None:
    tried: list[bytes] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1_024):
            tried.append(piece)
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cache = RedisCache(f"redis://127.0.0.1:{port}", metrics, ttl_s=60, timeout_ms=200, retry_after_s=0.01)
        assert await cache.get(["a"]) == [None]
        longest, before = 0.0, len(tried)
        for _ in range(100):
            started = time.perf_counter()
            assert await cache.get(["a"]) == [None]
            longest = max(longest, time.perf_counter() - started)
            await asyncio.sleep(0.01)
        assert longest < 0.1, "a probe takes 0.2 s"
        assert len(tried) > before
        await cache.close()


async def test_a_redis_that_takes_writes_again_is_given_them(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    cache = RedisCache(server.url, metrics, ttl_s=60, timeout_ms=200, retry_after_s=0.05)
    async with Redis.from_url(server.url) as redis:
        await redis.replicaof("127.0.0.1", "1")
        await cache.set({"a": 0.25})
        await asyncio.sleep(0.2)
        await cache.set({"b": 0.25})
        await redis.replicaof("NO", "ONE")
    await asyncio.sleep(0.2)
    await cache.set({"c": 0.25})
    assert await cache.get(["a", "b", "c"]) == [None, None, 0.25]
    assert len(caplog.messages) == 1
    await cache.close()
    server.stop()


async def test_the_local_level_is_asked_first_and_filled_from_behind(cache: RedisCache, metrics: Metrics) -> None:
    await cache.set({"a": 0.25})
    tiers = TieredCache(10, metrics, cache)
    assert await tiers.get(["a", "b"]) == [0.25, None]
    assert tiers.peek("a") == 0.25
    assert tiers.has_shared


async def test_the_local_level_forgets_the_least_recently_used(metrics: Metrics) -> None:
    tiers = TieredCache(2, metrics)
    tiers.keep({"a": 0.1, "b": 0.2})
    await tiers.get(["a"])
    tiers.keep({"c": 0.3})
    assert await tiers.get(["a", "b", "c"]) == [0.1, None, 0.3]
    assert not tiers.has_shared
    assert not await tiers.connected()


async def test_a_local_level_of_no_entries_keeps_nothing(metrics: Metrics) -> None:
    tiers = TieredCache(0, metrics)
    tiers.keep({"a": 0.1})
    assert await tiers.get(["a"]) == [None]


def test_keys_cross_neither_models_nor_precision_nor_preprocessing_nor_treatment(bundle: Bundle) -> None:
    manifest = bundle.manifest
    keys = {
        key_of(manifest, "fp32", TEXT, False),
        key_of(manifest, "fp32", TEXT, True),
        key_of(manifest, "int8", TEXT, False),
        key_of(manifest, "fp32", TEXT + "!", False),
        key_of(replace(manifest, calibration=Calibration(bias=0.1)), "fp32", TEXT, False),
        key_of(replace(manifest, fingerprint="f" * 64), "fp32", TEXT, False),
    }
    assert len(keys) == 6
    assert key_of(replace(manifest, lineage={}), "fp32", TEXT, False) in keys


def counted(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Look-ups by level and outcome, without those that did not happen."""
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    return {
        (sample.labels["level"], sample.labels["outcome"]): sample.value
        for sample in samples
        if sample.name == "sentiment_cache_total" and sample.value
    }


async def test_every_look_up_is_counted_once(
    cache: RedisCache, metrics: Metrics, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers = TieredCache(10, metrics, cache)
    await cache.set({"a": 0.25})
    await tiers.get(["a", "b"])
    assert counted(registry) == {("local", "miss"): 2, ("shared", "hit"): 1, ("shared", "miss"): 1}
    await tiers.get(["a"])
    assert counted(registry)["local", "hit"] == 1
    assert await tiers.get(["a"], Reuse(ask=False)) == [None]
    assert counted(registry)["local", "bypass"] == 1

    async def fails(keys: Sequence[str]) -> NoReturn:
        raise ConnectionError("gone")

    monkeypatch.setattr(cache._redis, "mget", fails)
    await tiers.get(["c", "d"])
    assert counted(registry)["shared", "error"] == 2
    await tiers.get(["e"])
    assert counted(registry)["shared", "bypass"] == 1


@pytest.mark.parametrize(
    ("said", "ask", "keep"),
    [
        ("", True, True),
        ("no-cache", False, True),
        ("No-Cache, max-age=0", False, True),
        ("max-age=60, no-store", False, False),
        ('private="no-cache"', True, True),
    ],
)
def test_cache_control(said: str, ask: bool, keep: bool) -> None:
    assert Reuse.of(said) == Reuse(ask, keep)
