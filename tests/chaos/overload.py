"""More than a service can do: what becomes of those whom it answers, and of those whom it does not."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil

from benchmarks.arrivals import OpenLoop
from benchmarks.dialects import DIALECTS
from benchmarks.fleet import ANALYZE, Fleet, fill_store, running
from benchmarks.jobs import Note, Phase
from benchmarks.load import Prepared, ServerTime
from benchmarks.loops import ClosedLoop
from benchmarks.reviews import COLD, sequence
from tests.redis_server import redis_server

TAG = "overload:1"
CLIENTS, FEWEST_CLIENTS = 48, 6
"""Of a closed loop, which gives the capacity; fewer where each asks for much at a time."""
TIMES, AFTERWARDS = 3.0, 0.8
"""Of the capacity is asked: too much, and then what can be done."""
DEADLINE_MS = 10_000.0
MOST_REFUSAL_MS, MOST_BACK_S, LEAST_GOODPUT, MOST_GROWTH = 50.0, 2.0, 0.9, 0.03
LOOK_S = 0.25


class Flood(OpenLoop):
    """An open loop that never lacks a connection, and waits for all that may still be answered."""

    drain_s = DEADLINE_MS / 1e3
    most_connections = 16_384


@dataclass(frozen=True, slots=True)
class Overload:
    """What was seen. Speeds are in reviews a second that were answered; times from when a request was meant."""

    peak: float
    asked: float
    good: float
    taken_p99_ms: float
    refused: int
    refused_p99_ms: float
    told_when: tuple[int, int]
    """Of the refusals that were looked at closely, how many said when to come again."""
    otherwise: int
    """Requests that were neither answered nor refused."""
    growth: float
    """Of the worker's memory, from the first quarter of the overload to its last."""
    same_workers: bool
    back_s: float
    """From the end of the overload until nobody was refused any more."""

    @property
    def marks(self) -> list[tuple[str, str, bool]]:
        """Each figure, what is wanted of it, and whether it is so."""
        said, looked_at = self.told_when
        share, quick = self.good / self.peak, self.refused_p99_ms <= MOST_REFUSAL_MS
        in_time, back = self.taken_p99_ms <= DEADLINE_MS, self.back_s <= MOST_BACK_S
        least = f"at least {LEAST_GOODPUT:.0%}"
        others = "the same processes" if self.same_workers else "other processes"
        return [
            (f"{self.good:,.0f} reviews/s were answered, {share:.0%} of the most", least, share >= LEAST_GOODPUT),
            (f"p99 of the answers: {self.taken_p99_ms:,.0f} ms", _most(DEADLINE_MS, " ms"), in_time),
            (f"p99 of {self.refused:,} refusals: {self.refused_p99_ms:.1f} ms", _most(MOST_REFUSAL_MS, " ms"), quick),
            (f"{said} of {looked_at} refusals that were read had Retry-After", "all", 0 < said == looked_at),
            (f"{self.otherwise} requests had another answer or none", "0", not self.otherwise),
            (f"memory grew by {self.growth:.1%}", f"at most {MOST_GROWTH:.0%}", self.growth <= MOST_GROWTH),
            (f"{others} at the end", "the same", self.same_workers),
            (f"the last refusal came {self.back_s:.2f} s after it was over", _most(MOST_BACK_S, " s"), back),
        ]  # fmt: skip

    @property
    def rows(self) -> list[str]:
        """Of a Markdown table."""
        asked = f"{self.asked:,.0f} reviews/s were asked for, {self.asked / self.peak:.1f} times the most"
        rows = [f"| {what} | {wanted} | {'yes' if held else 'NO'} |" for what, wanted, held in self.marks]
        return [f"| {asked} | wanted | |", "|---|---|---|", *rows]

    @property
    def holds(self) -> bool:
        """Whether all is as wanted."""
        return all(held for _, _, held in self.marks)


@asynccontextmanager
async def service(folder: Path, bundle: Path) -> AsyncIterator[Fleet]:
    """One worker with that model."""
    home = folder / "home"
    home.mkdir(parents=True)
    fill_store(home, {TAG: bundle})
    with redis_server(folder) as server:
        async with running(home, TAG, server.url, services=1, workers=1, surroundings={"ACCESS": "open"}) as fleet:
            yield fleet


async def overload(
    fleet: Fleet,
    texts: Sequence[str],
    batch: int = 0,
    *,
    times: float = TIMES,
    peak_s: float,
    overload_s: float,
    after_s: float,
) -> Overload:
    """Find the most that the service does, ask for so many ``times`` as much, then for what it can do."""
    port, pid = urlsplit(fleet.bases[0]).port or 0, fleet.processes[0].pid
    each = max(batch, 1)
    requests = Prepared(DIALECTS["contract"], _texts(texts), batch)
    gc.collect()
    gc.disable()  # a collector that looks at all of these stops the clock of those who wait
    clock = ServerTime(pid)
    clients = max(FEWEST_CLIENTS, CLIENTS // each)
    peak = (await ClosedLoop(port, Phase(clients, seconds=peak_s), requests, clock).run()).speed
    flood = Flood(port, Phase(rate=times * peak / each, seconds=overload_s, warm_up_s=1.0), requests, clock)
    after = Flood(port, Phase(rate=AFTERWARDS * peak / each, seconds=after_s, warm_up_s=0.0), requests, clock)
    before, memory = _workers(pid), _Memory(pid)
    watching = [asyncio.create_task(memory.watch()), asyncio.create_task((looks := _Looks(fleet.bases[0])).look())]

    async def afterwards() -> None:
        await asyncio.sleep(1.0 + overload_s + 0.1)
        for task in watching:
            task.cancel()
        await after.run()

    try:
        measured, _ = await asyncio.gather(flood.run(), afterwards())
    finally:
        gc.enable()
    notes = flood.counted()
    refused = [note for note in notes if note.status == 503]
    late = [note for note in after.counted() if note.status == 503]
    return Overload(
        peak=peak,
        asked=len(notes) * each / overload_s,
        good=measured.speed,
        taken_p99_ms=_p99_ms(note for note in notes if note.status == 200),
        refused=len(refused),
        refused_p99_ms=_p99_ms(refused),
        told_when=(looks.with_time, looks.refused),
        otherwise=sum(note.status not in (200, 503) for note in (*notes, *after.counted())),
        growth=memory.growth,
        same_workers=_workers(pid) == before,
        back_s=max((note.ended - flood.ended for note in late), default=0.0),
    )


@dataclass(slots=True)
class _Looks:
    """Requests of our own now and then, whose refusals are read."""

    base: str
    refused: int = 0
    with_time: int = 0

    async def look(self) -> None:
        """Until cancelled, whether the last one was answered or not."""
        async with httpx.AsyncClient(timeout=30.0) as client, asyncio.TaskGroup() as looks:
            for number in itertools.count():
                looks.create_task(self._one(client, number))
                await asyncio.sleep(LOOK_S)

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        answer = await client.post(f"{self.base}{ANALYZE}", json={"text": f"다시 볼게요 {number}"})
        if answer.status_code == 503:
            self.refused += 1
            self.with_time += answer.headers.get("retry-after", "").isdecimal()


@dataclass(slots=True)
class _Memory:
    """Of a service's processes, resident, in bytes."""

    pid: int
    seen: list[int] = field(default_factory=list)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.seen.append(sum(process.memory_info().rss for process in _processes(self.pid)))
            await asyncio.sleep(LOOK_S)

    @property
    def growth(self) -> float:
        """From the first quarter to the last."""
        quarter = max(1, len(self.seen) // 4)
        return float(np.median(self.seen[-quarter:]) / np.median(self.seen[:quarter]) - 1.0)


def _most(limit: float, unit: str) -> str:
    return f"at most {limit:,.0f}{unit}"


def _texts(texts: Sequence[str]) -> Iterator[str]:
    return sequence(COLD, texts, "과부하")


def _processes(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _workers(pid: int) -> list[int]:
    return sorted(process.pid for process in _processes(pid))


def _p99_ms(notes: "Sequence[Note] | Iterator[Note]") -> float:
    taken = [1e3 * (note.ended - note.started) for note in notes]
    return float(np.quantile(taken, 0.99)) if taken else float("nan")
