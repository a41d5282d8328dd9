"""When a batch leaves: our rule beside BentoML's. ``python -m benchmarks.release --bundle FOLDER [--nsmc FOLDER]``.

Both dispatchers feed the same engine in the same process, without HTTP, in turns: callers with a review each who ask
again when they are answered, reviews that come by chance at half of what many callers reach, and one caller alone
before and right after a burst. BentoML's learns on what comes before, as it does in a service. Prints Markdown.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from bentoml._internal.marshal.dispatcher import CorkDispatcher
from bentoml.exceptions import ServiceUnavailable
from prometheus_client import CollectorRegistry

from benchmarks.machine import described
from benchmarks.subjects import nsmc_folder
from data import nsmc
from data.text import clean
from serving.batching import Piece, Pieces, ReadyDispatcher, Rows
from serving.engine.choose import Wanted
from serving.model import Model
from serving.settings import Settings
from serving.telemetry.metrics import Metrics

Call = Callable[[Pieces], Awaitable[list[float] | None]]
ALONE_S, LOAD_S = 2.0, 3.0
CLIENTS = (8, 32, 64)
SHARE = 0.5


def dispatchers() -> dict[str, CorkDispatcher[Pieces, list[float]]]:
    """BentoML's and ours, with the service's own limits."""
    settings = Settings()

    def refused() -> NoReturn:
        raise ServiceUnavailable("waited too long")

    def stock() -> CorkDispatcher[Pieces, list[float]]:
        return CorkDispatcher(
            settings.max_latency_ms, settings.max_batch_size, fallback=refused, get_batch_size=len, batch_dim=(0, 0)
        )

    ready = ReadyDispatcher(stock(), Metrics(CollectorRegistry()))
    return {"BentoML's": stock(), "ours": ready}


def judging(
    judge: Callable[[Rows], npt.NDArray[np.float64]], threads: ThreadPoolExecutor, batches: list[int]
) -> Callable[..., Awaitable[list[list[float]]]]:
    """What a dispatcher calls with the rows of several callers; keeps how many they were."""

    async def judged(jobs: Sequence[Pieces]) -> list[list[float]]:
        batches.append(len(jobs))
        rows = [piece.ids for job in jobs for piece in job]
        answers = await asyncio.get_running_loop().run_in_executor(threads, judge, rows)
        return [[float(answer)] for answer in answers]

    return judged


async def load(call: Call, rows: Pieces, clients: int, seconds: float) -> list[float]:
    """Seconds that each call took, of so many callers that ask one after the other."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    following = iter(rows * 1_000)

    async def client() -> None:
        while time.perf_counter() < until:
            started = time.perf_counter()
            await call([next(following)])
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(clients)))
    return taken


async def by_chance(call: Call, rows: Pieces, rate: float, seconds: float, random: np.random.Generator) -> list[float]:
    """Seconds from when each review came until it was answered; they come at ``rate`` a second (a Poisson process)."""
    taken: list[float] = []

    async def one(row: Piece, due: float) -> None:
        await call([row])
        taken.append(time.perf_counter() - due)

    due, tasks = time.perf_counter(), []
    for number in range(round(rate * seconds)):
        due += random.exponential(1.0 / rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(rows[number % len(rows)], due)))
    await asyncio.gather(*tasks)
    return taken


async def measured(call: Call, rows: Pieces, batches: list[int], rate: float | None) -> dict[str, tuple[float, ...]]:
    """One round of one rule: by load, reviews a second, p50 and p99 in ms, and reviews a batch."""
    found: dict[str, tuple[float, ...]] = {}

    def keep(name: str, taken: list[float], seconds: float) -> None:
        p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e3
        found[name] = (len(taken) / seconds, p50, p99, statistics.mean(batches))
        batches.clear()

    await load(call, rows, 1, ALONE_S)  # BentoML's learns from it
    batches.clear()
    keep("1 caller, before", await load(call, rows, 1, ALONE_S), ALONE_S)
    for clients in CLIENTS:
        keep(f"{clients} callers", await load(call, rows, clients, LOAD_S), LOAD_S)
    keep("1 caller, after", await load(call, rows, 1, ALONE_S), ALONE_S)
    rate = rate or SHARE * found[f"{CLIENTS[-1]} callers"][0]
    keep("by chance, half of it", await by_chance(call, rows, rate, LOAD_S, np.random.default_rng(7)), LOAD_S)
    return found


async def compared(model: Model, rows: Pieces, rounds: int) -> list[str]:
    """The table's lines."""
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    rate: float | None = None
    with ThreadPoolExecutor(1) as one_batch:
        ways = dispatchers()
        judges = {
            "BentoML's": partial(judging, model.positive, one_batch),
            "ours": partial(judging, model.positive_of_call, model.runner.schedule.streams),
        }
        for _ in range(rounds):
            for name, dispatcher in ways.items():
                batches: list[int] = []
                one = await measured(dispatcher(judges[name](batches)), rows, batches, rate)
                rate = rate or SHARE * one[f"{CLIENTS[-1]} callers"][0]
                for kind, figures in one.items():
                    found.setdefault((kind, name), []).append(figures)
        for dispatcher in ways.values():
            dispatcher.shutdown()
    lines = ["| load | rule | reviews/s | p50 ms | p99 ms | reviews a batch |", "|---|---|--:|--:|--:|--:|"]
    kinds = dict.fromkeys(kind for kind, _ in found)
    for kind, name in ((kind, name) for kind in kinds for name in ways):
        speed, p50, p99, size = (statistics.median(each) for each in zip(*found[kind, name], strict=True))
        lines.append(f"| {kind} | {name} | {speed:,.0f} | {p50:.1f} | {p99:.1f} | {size:.1f} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.release", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = Model.load(arguments.bundle, "release", wanted=Wanted("onnxruntime", "cpu"))
    texts = [
        text for review in nsmc.read(nsmc_folder(arguments.nsmc) / "ratings_test.txt") if (text := clean(review.text))
    ]
    rows = [Piece(model, ids) for ids in model.bundle.encoder.encode(texts[:8_192], truncate=True)]
    print(
        f"{described(cpu=True)}; {model.engine.name} in {model.engine.precision}, {model.engine.layout}\n", flush=True
    )
    print("\n".join(asyncio.run(compared(model, rows, arguments.rounds))))


if __name__ == "__main__":
    main()
