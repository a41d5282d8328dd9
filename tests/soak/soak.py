"""A soak: load, churn and samples for a while, and what is looked for afterwards."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from data.ledger import Entry
from serving.api import PREFIX
from serving.errors import ServingError
from tests.fuzz.canary import Canary
from tests.soak.churn import Churn, Pace
from tests.soak.growth import Compared, Sample, compared
from tests.soak.load import Load
from tests.soak.processes import sample
from tests.soak.scene import Scene, scene
from tests.soak.truth import Truth

EVERY_S = 5.0
SETTLE_S = 2.0
"""Until logs and journals are written."""
SHOWN = 10
_PIECE = 1 << 20


@dataclass(slots=True)
class Soak:
    """What was seen so far."""

    seconds: float
    """That it is to last."""
    pace: Pace
    load: Load
    churn: Churn
    truth: Truth
    began: float
    samples: list[Sample] = field(default_factory=list)
    lasted_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    """What should not be, beside failed requests and changes."""
    leaks: dict[str, list[str]] = field(default_factory=dict)
    """Reviews where none may be, with what is around them."""
    entries: list[Entry] = field(default_factory=list)
    interrupted: bool = False

    @property
    def compared(self) -> Compared | None:
        """Early and late samples; None where there are too few."""
        warm_s = self.seconds if self.churn.warm_at is None else self.churn.warm_at - self.began
        return compared(self.samples, self.lasted_s, warm_s)


async def soak(
    folder: Path,
    *,
    seconds: float,
    every_s: float = EVERY_S,
    pace: Pace | None = None,
    seed: int = 0,
    warm_rollouts: int = 2,
    enough: asyncio.Event | None = None,
    progress: Callable[[Soak], None] | None = None,
) -> Soak:
    """Have a service of its own, in ``folder``, for so long or a little longer, or until it is ``enough``.

    It is warm after so many rollouts: after two, either model was loaded beside the other and let go of.
    """
    enough = enough or asyncio.Event()
    async with scene(folder) as there:
        with Truth(there.bundles) as truth:
            load = Load(there.base, there.caller_key, Canary(seed), truth)
            churn = Churn(there, load, pace or Pace(), warm_rollouts)
            seen = Soak(seconds, churn.pace, load, churn, truth, time.monotonic())
            await _lasting(there, seen, every_s, enough, progress)
            await asyncio.to_thread(truth.wait)
            await asyncio.sleep(SETTLE_S)
            await _look(there, seen)
    _search(there, seen)
    return seen


async def _lasting(
    there: Scene, seen: Soak, every_s: float, enough: asyncio.Event, progress: Callable[[Soak], None] | None
) -> None:
    """Raises whatever load, churn or sampling raises."""
    async with asyncio.TaskGroup() as group:
        group.create_task(seen.load.run())
        churning = group.create_task(seen.churn.run())
        sampling = group.create_task(_sampling(there, seen, every_s, progress))
        seen.interrupted = await _over(seen, enough)
        seen.churn.stop(hurry=seen.interrupted)
        await churning
        seen.lasted_s = time.monotonic() - seen.began
        sampling.cancel()
        seen.load.stop()


async def _over(seen: Soak, enough: asyncio.Event) -> bool:
    """Once the time is over and everything was changed once; True where it is ``enough`` before."""
    interrupted = asyncio.create_task(enough.wait())
    changed = asyncio.create_task(seen.churn.each_once.wait())
    try:
        await asyncio.wait({interrupted}, timeout=seen.seconds)
        await asyncio.wait({interrupted, changed}, return_when=asyncio.FIRST_COMPLETED)
        return interrupted.done()
    finally:
        interrupted.cancel()
        changed.cancel()


async def _sampling(there: Scene, seen: Soak, every_s: float, progress: Callable[[Soak], None] | None) -> None:
    due = seen.began
    while True:
        due += every_s
        while (left_s := due - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, left_s))
            seen.lasted_s = time.monotonic() - seen.began
            if progress is not None:
                progress(seen)
        quiet = seen.churn.quiet
        try:
            taken = await asyncio.to_thread(sample, seen.began, there.processes, quiet=quiet)
        except OSError as error:
            seen.problems.append(f"a process is gone: {error}")
            return
        if quiet == seen.churn.quiet:
            seen.samples.append(taken)


async def _look(there: Scene, seen: Soak) -> None:
    """At the service while it runs."""
    if await there.pids() != {pid for name, pid in there.processes.items() if name != "parent"}:
        seen.problems.append("the workers are not those that it began with")
    async with httpx.AsyncClient(base_url=there.base, timeout=10.0) as client:
        health = await client.get(f"{PREFIX}/health")
        if health.json().get("status") != "healthy":
            seen.problems.append(f"/health says {health.status_code} {health.text}")
        exposed = (await client.get("/metrics")).text
    seen.leaks["metrics"] = list(seen.load.canary.found([exposed.encode()]))
    for line in exposed.splitlines():
        if re.match(r'sentiment_requests_total\{.*status="5', line):
            seen.problems.append(f"metrics count errors: {line}")
    try:
        seen.entries = await there.fleet.operator.history()
    except ServingError as error:
        seen.problems.append(f"the ledger cannot be read: {error}")
    except ValueError as error:
        seen.problems.append(f"the ledger is broken: {error}")
    seen.leaks["Redis"] = list(seen.load.canary.found(_pieces([there.redis.file])))


def _search(there: Scene, seen: Soak) -> None:
    """What the service left behind."""
    logs = list(there.home.glob("service-*.log"))
    seen.leaks["logs"] = list(seen.load.canary.found(_pieces(logs)))
    seen.leaks["journal"] = list(seen.load.canary.found(_pieces(sorted(there.journal.iterdir()))))
    for log in logs:
        seen.problems += [f"logged {count} times: {said}" for said, count in _errors(log).most_common(SHOWN)]


def _pieces(files: Iterable[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as content:
            while piece := content.read(_PIECE):
                yield piece
        yield b"\n" * 256  # what one ends with is not what the next begins with


def _errors(log: Path) -> Counter[str]:
    """Tracebacks and errors, without ids: how often each."""
    found: Counter[str] = Counter()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if "Traceback" in line:
                found[line.strip()[:160]] += 1
            elif line.startswith("{") and '"level": "info"' not in line:
                event = json.loads(line)
                if event["level"] in ("error", "critical"):
                    message = re.sub(r"request \S+", "request ID", event["message"])[:160]
                    found[f"{event['logger']}: {message} {event.get('error', '')} {event.get('place', '')}"] += 1
    return found
