"""Real services of several workers around one Redis, real load on them, and what was answered.

What ``benchmarks.rollout`` measures and ``tests/e2e/test_rollout.py`` proves runs on this. Models are tiny and random:
a rollout moves tags, whatever is in them.
"""

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipelines.demo import free_port, stop
from pipelines.serve import LOOPBACK
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator, Order
from serving.rollout.redis_store import RedisStore
from serving.rollout.state import State

ROOT = Path(__file__).parent.parent
ANALYZE = "/api/v1/sentiment/analyze"
READY_LIMIT_S, STAGE_LIMIT_S, SETTLE_LIMIT_S = 120.0, 120.0, 10.0
DECIDED = {"THREADS": "1", "ENGINE": "onnxruntime", "PRECISION": "fp32", "BATCH_TOKENS": "512", "CACHE_ENTRIES": "0"}
"""Nothing is timed at start, and every answer is inferred."""
_STORE = """
import shutil, sys, bentoml
for tag, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    with bentoml.models.create(tag) as created:
        shutil.copytree(folder, created.path, dirs_exist_ok=True)
"""


class FleetFailed(RuntimeError):
    """A service that does not come up, or a change that does not arrive."""


def fill_store(home: Path, bundles: Mapping[str, Path]) -> None:
    """Put bundles into a Bento model store under their tags; in its own process: BentoML looks its home up once."""
    arguments = [str(part) for pair in bundles.items() for part in pair]
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    subprocess.run([sys.executable, "-c", _STORE, *arguments], env=environment, check=True, cwd=ROOT)


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it began and ended (``time.perf_counter``), who asked what, and what came back."""

    began: float
    ended: float
    caller: str
    text: str
    status: int
    tag: str = ""
    score: float = 0.0
    sentiment: str = ""


@dataclass(slots=True)
class Load:
    """Callers that ask one after the other, until they are told to stop."""

    bases: Sequence[str]
    texts: Sequence[str]
    callers: int
    pause_s: float = 0.0
    """Between an answer and the next question: without one, the processors have no idle time at all."""
    answers: list[Answer] = field(default_factory=list)
    _stop: bool = False

    async def run(self) -> None:
        """Each caller has a name of its own and goes from service to service."""
        async with httpx.AsyncClient(timeout=30.0, limits=httpx.Limits(max_connections=self.callers)) as client:
            await asyncio.gather(*(self._ask(client, number) for number in range(self.callers)))

    def stop(self) -> None:
        """After what is under way."""
        self._stop = True

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        for turn in itertools.count(number):
            if self._stop:
                return
            await asyncio.sleep(self.pause_s)
            caller, text = f"caller-{number}-{turn}", self.texts[turn % len(self.texts)]
            base = self.bases[turn % len(self.bases)]
            began = time.perf_counter()
            try:
                response = await client.post(base + ANALYZE, json={"text": text}, headers={"X-Client-ID": caller})
            except httpx.HTTPError:
                self.answers.append(Answer(began, time.perf_counter(), caller, text, 0))
                continue
            data = response.json().get("data", {})
            what = data.get("model_tag", ""), data.get("score", 0.0), data.get("sentiment", "")
            self.answers.append(Answer(began, time.perf_counter(), caller, text, response.status_code, *what))


async def typed(redis_url: str, module: str, *arguments: str) -> str:
    """What a command of the fleet's operators prints, in a process of its own. Raises FleetFailed with what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": redis_url, "ROLLOUT_NAME": "fleet"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, said = await process.communicate()
    if process.returncode:
        raise FleetFailed(said.decode())
    return printed.decode().strip()


class Fleet:
    """Services that run, and an operator beside them."""

    def __init__(self, bases: Sequence[str], processes: Sequence[subprocess.Popen[bytes]], redis_url: str) -> None:
        self.bases, self.processes, self.redis_url = bases, processes, redis_url
        self.store = RedisStore(redis_url, "fleet")
        self.operator = Operator(self.store, Limits(), 600.0)

    async def order(self, command: str, value: object = None, *, force: bool = False) -> State:
        """Give a command."""
        order = Order(command, "benchmark", "", None if value is None else str(value), force)
        return await self.operator.carry_out(order)

    async def command_line(self, *arguments: str) -> None:
        """Give a command as an operator types it. Raises FleetFailed with what it said."""
        await typed(self.redis_url, "serving.rollout", *arguments)

    async def settled(self) -> dict[str, Any]:
        """The status once all workers serve it. Raises FleetFailed."""
        until = time.monotonic() + SETTLE_LIMIT_S
        while (status := await self.operator.status())["behind"]:
            if time.monotonic() > until:
                raise FleetFailed(f"not there after {SETTLE_LIMIT_S:.0f} s: {status['behind']}")
            await asyncio.sleep(0.01)
        return status

    async def workers(self, count: int) -> None:
        """Wait until so many report. Raises FleetFailed."""
        until = time.monotonic() + STAGE_LIMIT_S
        while len(await self.store.reports()) < count:
            if time.monotonic() > until:
                raise FleetFailed(f"fewer than {count} workers report")
            await asyncio.sleep(0.05)

    async def staged(self, tag: str) -> dict[str, str]:
        """Wait until all workers have ``tag``, or cannot have it; returns what they say is wrong, by worker."""
        until = time.monotonic() + STAGE_LIMIT_S
        while time.monotonic() < until:
            reports = await self.store.reports()
            problems = {report["worker"]: report["problems"][tag] for report in reports if tag in report["problems"]}
            if reports and all(tag in report["ready"] or tag in report["problems"] for report in reports):
                return problems
            await asyncio.sleep(0.05)
        raise FleetFailed(f"{tag} was not staged after {STAGE_LIMIT_S:.0f} s")


@asynccontextmanager
async def running(
    home: Path, tag: str, redis_url: str, *, services: int, workers: int, surroundings: Mapping[str, str] | None = None
) -> AsyncIterator[Fleet]:
    """So many services of so many workers, all serving ``tag`` and following one rollout in Redis."""
    environment = {
        **os.environ, **DECIDED, **(surroundings or {}), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True",
        "XDG_CACHE_HOME": str(home / "cache"),  # nothing was served here before
        "REDIS_URL": redis_url, "ROLLOUT_NAME": "fleet", "WORKERS": str(workers), "DRAIN_S": "0",
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        started = [stack.enter_context(_service(home, tag, number, environment)) for number in range(services)]
        async with httpx.AsyncClient() as client:
            for base, process, log in started:
                await _ready(client, base, process, log)
        fleet = Fleet([base for base, _, _ in started], [process for _, process, _ in started], redis_url)
        stack.push_async_callback(fleet.store.close)
        await fleet.workers(services * workers)
        yield fleet


@contextmanager
def _service(
    home: Path, tag: str, number: int, environment: Mapping[str, str]
) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    port, log = free_port(), home / f"service-{number}.log"
    line = [sys.executable, "-m", "bentoml", "serve", "serving.service:SentimentService"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*line, "--arg", f"model_tag={tag}", "--host", LOOPBACK, "--port", str(port)],
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"http://127.0.0.1:{port}", process, log
        finally:
            stop(process)


async def _ready(client: httpx.AsyncClient, base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if (await client.get(f"{base}/readyz")).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.1)
    raise FleetFailed(f"the service was not ready after {READY_LIMIT_S:.0f} s; its log ends with\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
