"""A real service of two workers with a real Redis, an attack on it, and what is looked for afterwards."""

import asyncio
import json
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from benchmarks.fleet import Fleet, fill_store, running
from serving.api import PREFIX
from tests.fuzz.attack import Attack, Outcome
from tests.fuzz.canary import Canary
from tests.models import write_bundle
from tests.redis_server import redis_server

TAG = "tiny:1"
WORKERS = 2
SURROUNDINGS = {
    "TIMEOUT_S": "3", "MAX_LATENCY_MS": "2000", "LOG_FORMAT": "json", "CACHE_ENTRIES": "1000",
    "CACHE_TTL_S": str(7 * 86_400),  # nothing expires before it was searched
}  # fmt: skip
SETTLE_S = 3.0
"""Until what was left unfinished is given up, and logs and journals are written."""
_PIECE = 1 << 20
_BATCH = 500
_LEAKS_SHOWN = 5
_READ: dict[bytes, tuple[str | int, ...]] = {
    b"string": ("GET",), b"hash": ("HGETALL",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1), b"stream": ("XRANGE", "-", "+"),
}  # fmt: skip
"""What reads a value of each kind."""


@dataclass(slots=True)
class Report:
    """What a run found; nothing of it should be there."""

    seed: int
    outcome: Outcome
    leaks: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What does no harm, but should be looked at."""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.outcome.found or any(self.leaks.values()) or self.problems)


@asynccontextmanager
async def attacked(folder: Path) -> AsyncIterator[tuple[Fleet, Path]]:
    """A service of its own, with a tiny random model, and the folder with its log and journal."""
    home = folder / "home"
    home.mkdir()
    await asyncio.to_thread(fill_store, home, {TAG: write_bundle(folder / "bundle").folder})
    journal = {"JOURNAL_FOLDER": str(home / "journal")}
    with tempfile.TemporaryDirectory(prefix="fuzz-redis-") as short, redis_server(Path(short)) as server:
        surroundings = SURROUNDINGS | journal
        async with running(home, TAG, server.url, services=1, workers=WORKERS, surroundings=surroundings) as fleet:
            yield fleet, home


async def campaign(
    folder: Path,
    *,
    seed: int,
    count: int,
    first: int = 0,
    connections: int = 48,
    progress: Callable[[Outcome], None] | None = None,
) -> Report:
    """Attack a service, and look at everything afterwards."""
    async with attacked(folder) as (fleet, home):
        (base,), (process,) = fleet.bases, fleet.processes
        before = workers_of(process.pid)
        memory = memory_mib(process.pid)
        port = int(base.rsplit(":", 1)[1])
        attack = Attack(port, seed, first=first, count=count, connections=connections)
        report = Report(seed, await attack.run(progress))
        await asyncio.sleep(SETTLE_S)
        report.problems += await _health(base)
        if workers_of(process.pid) != before:
            report.problems.append("the processes of the service are not those that it began with")
        report.facts["memory"] = f"{memory:,} MiB before, {memory_mib(process.pid):,} MiB after"
        canary = Canary(seed)
        async with httpx.AsyncClient(timeout=30.0) as client:
            exposed = (await client.get(f"{base}/metrics")).content
        report.leaks["metrics"] = list(canary.found([exposed]))
        report.problems += _counted_errors(exposed.decode())
        with redis.Redis.from_url(fleet.redis_url) as store:
            report.leaks["Redis"] = list(canary.found(_contents(store)))
            report.facts["Redis"] = f"{store.dbsize():,} keys"
    logs = [*home.glob("service-*.log"), *(home / "journal").glob("judged-*")]
    report.leaks["logs"] = [leak for log in logs for leak in canary.found(_pieces(log))]
    report.facts["logs"] = f"{sum(log.stat().st_size for log in logs):,} bytes"
    for log in home.glob("service-*.log"):
        for kind, count in _logged_errors(log).most_common():
            harmless = kind.startswith(("bentoml.", "uvicorn."))  # BentoML's own route logs each refusal as an error
            (report.notes if harmless else report.problems).append(f"{count:,} times logged: {kind}")
    return report


def workers_of(pid: int) -> set[tuple[int, float]]:
    """The processes under ``pid``, with when they began."""
    return {(child.pid, child.create_time()) for child in psutil.Process(pid).children(recursive=True)}


def memory_mib(pid: int) -> int:
    """What they take, together."""
    return int(sum(child.memory_info().rss for child in psutil.Process(pid).children(recursive=True))) >> 20


async def _health(base: str) -> list[str]:
    problems = []
    async with httpx.AsyncClient(timeout=10.0) as client:
        for path in ("/readyz", f"{PREFIX}/health"):
            answer = await client.get(base + path)
            if answer.status_code != 200 or (path.endswith("health") and answer.json()["status"] != "healthy"):
                problems.append(f"{path} says {answer.status_code} {answer.text[:200]}")
        answer = await client.post(f"{base}{PREFIX}/analyze", json={"text": "정말 재미있어요"})
        if answer.status_code != 200:
            problems.append(f"a good request is answered with {answer.status_code}")
    return problems


def _counted_errors(exposed: str) -> list[str]:
    lines = [line for line in exposed.splitlines() if re.match(r'sentiment_requests_total\{.*status="500"', line)]
    return [f"metrics count answers of 500: {line}" for line in lines]


def _logged_errors(log: Path) -> Counter[str]:
    """Errors that were logged, without ids and numbers: how often each."""
    kinds: Counter[str] = Counter()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                kinds[f"no JSON: {line.strip()[:160]}"] += "Traceback" in line
                continue
            if event.get("level") in ("error", "critical"):
                message = re.sub(r"request \S+", "request ID", event["message"])[:160]
                parts = (f"{event['logger']}:", message, event.get("error"), event.get("place"))
                kinds[" ".join(part for part in parts if part)] += 1
    return +kinds


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece


def _contents(store: redis.Redis) -> Iterator[bytes]:
    """All keys and all values."""
    names: list[bytes] = []
    for name in store.scan_iter(count=_BATCH):
        yield b"\n" + name + b"\n"
        names.append(name)
        if len(names) == _BATCH:
            yield from _values(store, names)
            names = []
    yield from _values(store, names)


def _values(store: redis.Redis, names: list[bytes]) -> Iterator[bytes]:
    kinds = store.pipeline(transaction=False)
    for name in names:
        kinds.type(name)
    asked: Any = store.pipeline(transaction=False)
    for name, kind in zip(names, kinds.execute(), strict=True):
        command, *arguments = _READ.get(kind, ("DUMP",))
        asked.execute_command(command, name, *arguments)
    for value in asked.execute():
        yield b"\n" + (value if isinstance(value, bytes) else repr(value).encode())


def table(report: Report) -> str:
    """What came back, by route, and what was found, as Markdown."""
    statuses = report.outcome.statuses
    routes = sorted({route for route, _ in statuses})
    columns = sorted({status for _, status in statuses})
    lines = ["| route | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {route} | " + " | ".join(f"{statuses[route, each]:,}" for each in columns) + " |" for route in routes]
    total = [sum(statuses[route, each] for route in routes) for each in columns]
    lines.append("| all | " + " | ".join(f"{each:,}" for each in total) + " |")
    outcome = report.outcome
    kinds: Counter[str] = Counter()
    for (kind, _), number in outcome.found.items():
        kinds[kind] += number
    rate = outcome.sent / outcome.seconds if outcome.seconds else 0.0
    rows = {
        "requests": f"{outcome.sent:,}, {outcome.sent_bytes / 1e9:.2f} GB, in {outcome.seconds:,.0f} s ({rate:,.0f}/s)",
        "answers of 500": f"{sum(n for kind, n in kinds.items() if kind.startswith('5')):,}",
        "hangs": f"{kinds['hang']:,}",
        "answers that broke off": f"{kinds['cut'] + kinds['refused']:,}",
        "hidden requests answered": f"{kinds['smuggled']:,}",
        **{f"texts in {where}": f"{len(leaks):,}" for where, leaks in report.leaks.items()},
        "slowest": f"{outcome.slowest_s:.2f} s (request {outcome.slowest})",
        **report.facts,
        "seed": str(report.seed),
    }
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines)


def details(report: Report) -> list[str]:
    """Each thing that was found, to be looked at."""
    lines = [f"- {problem}" for problem in report.problems]
    for (kind, route), number in sorted(report.outcome.found.items()):
        same = [each for each in report.outcome.findings if (each.kind, each.route) == (kind, route)]
        lines.append(f"- {kind} on {route}, {number:,} times")
        lines += [
            f"  - --only {each.index} ({', '.join(each.mutators)}): {each.detail}" for each in same[:_LEAKS_SHOWN]
        ]
    for where, leaks in report.leaks.items():
        lines += [f"- in {where}: {leak!r}" for leak in leaks[:_LEAKS_SHOWN]]
    return lines + [f"- (harmless) {note}" for note in report.notes]
