"""Workers that are killed, and services that are told to stop behind the balancer, under load: who notices."""

import asyncio
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks.fleet import DECIDED, ROOT, Fleet, FleetFailed, fill_store, running
from pipelines.demo import free_port, stop
from tests.chaos.load import Answer, Callers
from tests.models import write_bundle
from tests.redis_server import redis_server

TAG = "tiny:1"
WORKERS, SERVICES, CALLERS, PAUSE_S = 2, 2, 4, 0.01
BETWEEN_S, LIMIT_S = 0.5, 60.0
DYING_S = 0.25
"""A process that was killed keeps its connections until its memory is given back."""
DRAIN_S = 3.0
"""Above the balancer's interval between two probes and the limit of one, both of a second."""
BALANCER = ROOT / "deploy" / "haproxy.cfg"


@dataclass(frozen=True, slots=True)
class Ended:
    """What it did to those who asked that so many were ended."""

    how: str
    times: int
    requests: int
    in_flight: int
    """Requests that failed and were under way when a worker was killed."""
    latest_s: float
    """When the last of these began, after the worker was killed; less than 0 if that was before."""
    others: tuple[Answer, ...]
    """Further requests that failed."""

    @property
    def holds(self) -> bool:
        """Nobody was failed who need not have been."""
        return not self.others and self.in_flight <= self.times * CALLERS

    @property
    def row(self) -> str:
        """Of a table under ``HEAD``."""
        latest = f"{1e3 * self.latest_s:+.0f}" if self.in_flight else "-"
        held = "yes" if self.holds else "NO"
        return (
            f"| {self.how} | {self.times} | {self.requests:,} | {self.in_flight} | {latest} | {len(self.others)} "
            f"| {held} |"
        )


HEAD = (
    "| ended by | times | requests | failed in flight | the last of them began, ms after | failed otherwise | none |\n"
    "|---|---:|---:|---:|---:|---:|---|"
)


async def killed(folder: Path, times: int) -> Ended:
    """SIGKILL one of two workers of a service, and again as soon as there are two."""
    home = _home(folder)
    moments: list[float] = []
    with redis_server(folder) as server:
        async with (
            running(home, TAG, server.url, services=1, workers=WORKERS) as fleet,
            _asked(fleet.bases) as callers,
        ):
            for _ in range(times):
                victim = min(await _pids(fleet))
                moments.append(time.perf_counter())
                os.kill(victim, signal.SIGKILL)
                await _until(partial(_replaced, fleet, victim), "another worker")
                await asyncio.sleep(BETWEEN_S)
    return judged("SIGKILL of a worker", callers.answers, moments, times)


async def stopped(folder: Path, times: int) -> Ended:
    """SIGTERM one of two services behind the balancer, in turn, and start it again."""
    home = _home(folder)
    ports = [free_port() for _ in range(SERVICES)]
    async with AsyncExitStack() as stack:
        services = [_Service(home, port) for port in ports]
        for service in services:
            stack.callback(service.end)
            service.start()
        public, inside = stack.enter_context(_balanced(folder, ports))
        async with _asked([public], lambda: _balances(inside, SERVICES)) as callers:
            for turn in range(times):
                await asyncio.to_thread(services[turn % SERVICES].end)
                services[turn % SERVICES].start()
                await _until(lambda: _balances(inside, SERVICES), "both services")
                await asyncio.sleep(BETWEEN_S)
    return judged("SIGTERM of a service behind the balancer", callers.answers, [], times)


def judged(how: str, answers: Sequence[Answer], killed: Sequence[float], times: int) -> Ended:
    """What failed, apart from what was under way at the moments when a worker was ``killed``."""
    in_flight, others, latest_s = 0, [], -math.inf
    for answer in (answer for answer in answers if answer.status != 200):
        under_way = [m for m in killed if answer.began <= m + DYING_S and answer.ended >= m]
        if under_way:
            in_flight, latest_s = in_flight + 1, max(latest_s, answer.began - under_way[-1])
        else:
            others.append(answer)
    return Ended(how, times, len(answers), in_flight, latest_s, tuple(others))


def _home(folder: Path) -> Path:
    home = folder / "home"
    home.mkdir(parents=True)
    fill_store(home, {TAG: write_bundle(folder / "bundle", seed=1).folder})
    return home


@asynccontextmanager
async def _asked(bases: Sequence[str], ready: Callable[[], Awaitable[bool]] | None = None) -> AsyncIterator[Callers]:
    if ready is not None:
        await _until(ready, "services")
    callers = Callers(bases, CALLERS, PAUSE_S)
    asking = asyncio.create_task(callers.run())
    try:
        await asyncio.sleep(1.0)
        yield callers
    finally:
        callers.stop()
        await asking


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not await holds():
        if time.monotonic() > deadline:
            raise FleetFailed(f"{what}: not there after {LIMIT_S:.0f} s")
        await asyncio.sleep(0.1)


async def _pids(fleet: Fleet) -> set[int]:
    return {int(report["worker"].rpartition("-")[2]) for report in await fleet.store.reports()}


async def _replaced(fleet: Fleet, victim: int) -> bool:
    """Whether all workers report that there are to be; what the victim reported last is there for a while."""
    return len(await _pids(fleet) - {victim}) >= WORKERS


class _Service:
    """A service at a port, again and again."""

    def __init__(self, home: Path, port: int) -> None:
        self._log = home / f"service-{port}.log"
        self._line = [
            *(sys.executable, "-m", "bentoml", "serve", "serving.service:SentimentService"),
            *("--arg", f"model_tag={TAG}", "--host", "127.0.0.1", "--port", str(port)),
        ]
        self._environment = {
            **os.environ, **DECIDED, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True",
            "XDG_CACHE_HOME": str(home / "cache"), "WORKERS": "1", "DRAIN_S": str(DRAIN_S),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns at once."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._line, cwd=ROOT, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )

    def end(self) -> None:
        """SIGTERM, and wait until it is gone. No-op where it is."""
        if self._process is not None:
            stop(self._process)
            self._process = None


@contextmanager
def _balanced(folder: Path, ports: Sequence[int]) -> Iterator[tuple[str, str]]:
    """The balancer as it is deployed in front of these ports: its public address, and the one for those inside."""
    program = shutil.which("haproxy", path=f"/usr/sbin:/usr/local/sbin:{os.environ['PATH']}")
    if program is None:
        raise FileNotFoundError("haproxy is not there; Debian and Ubuntu have it: apt-get install haproxy")
    public, inside = free_port(), free_port()
    servers = "\n".join(f"    server r{number} 127.0.0.1:{port} check" for number, port in enumerate(ports))
    config = re.sub(r"^\s+server-template .*$", servers, BALANCER.read_text(encoding="utf-8"), flags=re.MULTILINE)
    config = config.replace("bind :8080", f"bind 127.0.0.1:{public}").replace("bind :8404", f"bind 127.0.0.1:{inside}")
    file = folder / "haproxy.cfg"
    file.write_text(config, encoding="utf-8")
    process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{public}", f"http://127.0.0.1:{inside}"
    finally:
        stop(process)


async def _balances(inside: str, servers: int) -> bool:
    """Whether the balancer calls so many servers healthy."""
    with suppress(httpx.TransportError):
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{inside}/metrics")).text
        found = re.search(r'^haproxy_backend_active_servers\{proxy="replicas"\} (\d+)', text, re.MULTILINE)
        return found is not None and int(found[1]) == servers
    return False
