"""When a batch leaves: our rule beside BentoML's. ``python -m benchmarks.release --bundle FOLDER [--nsmc FOLDER]``.

Both dispatchers feed the same engine in the same process, without HTTP, in turns: many callers with a review each, one
caller alone, and one caller alone right after many. BentoML's learns on what comes before, as it does in a service.
Prints Markdown.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
from bentoml._internal.marshal.dispatcher import CorkDispatcher
from bentoml.exceptions import ServiceUnavailable
from prometheus_client import CollectorRegistry

from benchmarks.machine import described
from benchmarks.subjects import nsmc_folder
from data import nsmc
from data.text import clean
from serving.batching import ReadyDispatcher, Rows
from serving.engine.choose import Wanted
from serving.model import Model
from serving.settings import Settings
from serving.telemetry.metrics import Metrics

Call = Callable[[Rows], Awaitable[list[float] | None]]
ALONE_S, BURST_S = 2.0, 3.0
CLIENTS = 64


def dispatchers() -> dict[str, CorkDispatcher[Rows, list[float]]]:
    """BentoML's and ours, with the service's own limits."""
    settings = Settings()

    def refused() -> NoReturn:
        raise ServiceUnavailable("waited too long")

    def stock() -> CorkDispatcher[Rows, list[float]]:
        return CorkDispatcher(
            settings.max_latency_ms, settings.max_batch_size, fallback=refused, get_batch_size=len, batch_dim=(0, 0)
        )

    ready = ReadyDispatcher(stock(), settings.max_batch_tokens, Metrics(CollectorRegistry()))
    return {"BentoML's": stock(), "ours": ready}


def judging(model: Model, pool: ThreadPoolExecutor, batches: list[int]) -> Callable[..., Awaitable[list[list[float]]]]:
    """What a dispatcher calls with the rows of several callers; keeps how many they were."""

    async def judge(jobs: Sequence[Rows]) -> list[list[float]]:
        batches.append(len(jobs))
        rows = [row for job in jobs for row in job]
        answers = await asyncio.get_running_loop().run_in_executor(pool, model.positive, rows)
        return [[float(answer)] for answer in answers]

    return judge


async def load(call: Call, rows: Rows, clients: int, seconds: float) -> list[float]:
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


async def compared(model: Model, rows: Rows, rounds: int) -> list[str]:
    """The table's lines."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with ThreadPoolExecutor(1) as pool:
        ways = dispatchers()
        for _ in range(rounds):
            for name, dispatcher in ways.items():
                batches: list[int] = []
                call = dispatcher(judging(model, pool, batches))
                await load(call, rows, 1, ALONE_S)  # BentoML's learns from it
                before = statistics.median(await load(call, rows, 1, ALONE_S))
                batches.clear()
                many = await load(call, rows, CLIENTS, BURST_S)
                size = statistics.mean(batches)
                after = statistics.median(await load(call, rows, 1, ALONE_S))
                p50, p99 = np.quantile(many, [0.5, 0.99])
                found.setdefault(name, []).append((len(many) / BURST_S, p50, p99, size, before, after))
        for dispatcher in ways.values():
            dispatcher.shutdown()
    lines = [
        f"| rule | reviews/s of {CLIENTS} callers | p50 ms | p99 ms | reviews a batch | alone before | alone after |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, rounds_of in found.items():
        speed, p50, p99, size, before, after = (statistics.median(each) for each in zip(*rounds_of, strict=True))
        times = " | ".join(f"{1e3 * each:.1f}" for each in (p50, p99))
        lines.append(f"| {name} | {speed:,.0f} | {times} | {size:.1f} | {1e3 * before:.2f} | {1e3 * after:.2f} |")
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
    rows = model.bundle.encoder.encode(texts[:8_192], truncate=True)
    print(
        f"{described(cpu=True)}; {model.engine.name} in {model.engine.precision}, {model.engine.layout}\n", flush=True
    )
    print("\n".join(asyncio.run(compared(model, rows, arguments.rounds))))


if __name__ == "__main__":
    main()
