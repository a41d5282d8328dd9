"""What a flood costs a caller who asks little: ``python -m benchmarks.fairness [--seconds 8]``.

A service, some connections that send batches without a pause, and a caller who asks about one review now and then;
once both come with one key, so that they are one caller and wait in one line, and once each with its own. Prints
Markdown.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks.fleet import ANALYZE, fill_store, running
from benchmarks.machine import described
from benchmarks.rollout import OLD, untrained
from benchmarks.subjects import SHAPES, Corpus, nsmc_folder
from data import nsmc
from data.text import clean
from serving.access.keys import issue
from serving.access.store import FileKeys
from tests.redis_server import redis_server

FLOOD, BATCH = 16, 64
PAUSE_S = 0.05
SHAPE = "compact"


def headers(key: str) -> dict[str, str]:
    """Every answer is to be inferred."""
    return {"Authorization": f"Bearer {key}", "Cache-Control": "no-store, no-cache"}


async def flood(client: httpx.AsyncClient, base: str, key: str, texts: list[str], until: float) -> int:
    """Batches, one after the other on each connection; returns how many reviews were judged."""

    async def connection(number: int) -> int:
        judged = 0
        for turn in itertools.count(number):
            if time.monotonic() > until:
                return judged
            part = [texts[(turn * BATCH + place) % len(texts)] for place in range(BATCH)]
            url = f"{base}{ANALYZE.replace('analyze', 'batch')}"
            answer = await client.post(url, json={"texts": part}, headers=headers(key))
            judged += len(part) if answer.status_code == 200 else 0
        return judged

    return sum(await asyncio.gather(*(connection(number) for number in range(FLOOD))))


async def singles(client: httpx.AsyncClient, base: str, key: str, texts: list[str], until: float) -> list[float]:
    """How long each took, in milliseconds."""
    taken = []
    for text in itertools.cycle(texts):
        if time.monotonic() > until:
            return taken
        await asyncio.sleep(PAUSE_S)
        began = time.perf_counter()
        answer = await client.post(f"{base}{ANALYZE}", json={"text": text}, headers=headers(key))
        answer.raise_for_status()
        taken.append(1e3 * (time.perf_counter() - began))
    return taken


async def beside(base: str, flooding: str, asking: str, texts: list[str], seconds: float) -> tuple[int, list[float]]:
    """Both at once, with these keys."""
    async with httpx.AsyncClient(timeout=60.0) as client:
        until = time.monotonic() + seconds
        return await asyncio.gather(  # type: ignore[return-value]
            flood(client, base, flooding, texts, until), singles(client, base, asking, texts, until)
        )


async def measured(nsmc_at: Path, folder: Path, seconds: float) -> list[str]:
    """A line for one line, and for turns."""
    corpus = Corpus.load(nsmc_at, SHAPES[SHAPE].architecture.vocabulary)
    bundles = {OLD: untrained(folder / "bundle", SHAPE, corpus)}
    (folder / "home").mkdir()
    fill_store(folder / "home", bundles)
    texts = [clean(review.text) for review in itertools.islice(nsmc.read(nsmc_at / "ratings_test.txt"), 4_000)]
    texts = [text for text in texts if text]
    store, reads = FileKeys(folder / "keys.json"), []
    for owner in ("much", "little"):
        key, read = issue(owner, ("predict",), 1.0, time.time())
        await store.add(key)
        reads.append(read)
    surroundings = {"ACCESS": "keys", "KEYS_FILE": str(folder / "keys.json")}
    lines = []
    with redis_server(folder) as server:
        async with running(folder / "home", OLD, server.url, services=1, workers=1, surroundings=surroundings) as fleet:
            (base,) = fleet.bases
            for name, asking in (("one line (one key)", reads[0]), ("turns (a key each)", reads[1])):
                judged, taken = await beside(base, reads[0], asking, texts, seconds)
                p50, p99 = np.quantile(taken, [0.5, 0.99])
                lines.append(f"| {name} | {p50:.1f} | {p99:.1f} | {len(taken)} | {judged / seconds:,.0f} |")
    return lines


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.fairness", description=__doc__)
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    print(f"{described(cpu=True)}\n\n{FLOOD} connections that send {BATCH} reviews at a time, and one caller beside\n")
    print("| callers wait in | p50, ms | p99, ms | asked | flood, reviews/s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="fairness-") as folder:
        print("\n".join(asyncio.run(measured(nsmc_folder(arguments.nsmc), Path(folder), arguments.seconds))))


if __name__ == "__main__":
    main()
