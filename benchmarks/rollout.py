"""What a rollout costs those who are served. ``python -m benchmarks.rollout [--switches 20] [--weights 100]``.

Two services of two workers around one Redis, callers that ask one after the other, two untrained models of which each
text's answer is known. A model is staged, made live and taken back again and again, and given shares of the callers.
Every answer is held against what its model says of the text alone. Prints Markdown.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.bundles import SAMPLES, calibration_batches, write_bundle
from benchmarks.fleet import Answer, Fleet, Load, fill_store, running
from benchmarks.machine import described
from benchmarks.subjects import SHAPES, Corpus, nsmc_folder
from data import nsmc
from data.encode import Encoder
from data.text import clean
from serving.model import Model
from tests.redis_server import redis_server

STAGED = tuple(f"rollout:{number}" for number in range(2, 12))
"""Each is staged once, as one that this machine has not served before."""
OLD, NEW = "rollout:1", STAGED[-1]
SERVICES, WORKERS = 2, 2
TEXTS = 64
TOLERANCE = 2e-4
"""Answers have four decimals."""
QUIET_S, SHARE_S = 3.0, 10.0
SHARE = 25


def p99_ms(answers: Sequence[Answer], spans: Sequence[tuple[float, float]]) -> float:
    """Of what was asked within any of the spans."""
    taken = [
        1e3 * (answer.ended - answer.began)
        for answer in answers
        if any(since <= answer.began < until for since, until in spans)
    ]
    return float(np.quantile(taken, 0.99)) if taken else float("nan")


def untrained(folder: Path, shape: str, corpus: Corpus, seed: int = 1) -> Path:
    """The bundle of a model of that shape with random weights, and the corpus's vocabulary."""
    bundle = write_bundle(
        folder,
        SHAPES[shape].model(seed).eval(),
        corpus.tokenizer_json,
        SAMPLES,
        calibration_batches(corpus.dev.rows, Encoder(corpus.tokenizer_json, 128).pad_id),
        name=shape,
        max_length_tokens=128,
        lengths=map(len, corpus.dev.rows),
    )
    return bundle.folder


def models(folder: Path, shape: str, nsmc_at: Path) -> dict[str, Path]:
    """Bundles of other random weights."""
    corpus = Corpus.load(nsmc_at, SHAPES[shape].architecture.vocabulary)
    return {
        tag: untrained(folder / tag.replace(":", "-"), shape, corpus, seed)
        for seed, tag in enumerate((OLD, *STAGED), start=1)
    }


def wrong(answers: Sequence[Answer], bundles: dict[str, Path], texts: Sequence[str]) -> int:
    """Answers that are not what their model says of the text alone."""
    said: dict[tuple[str, str], float] = {}
    for tag, folder in bundles.items():
        model = Model.load(folder, tag)
        for text in texts:
            positive = float(model.positive_of([text])[0])
            said[tag, text] = max(positive, 1.0 - positive)
    return sum(
        answer.status == 200 and abs(answer.score - said[answer.tag, answer.text]) > TOLERANCE for answer in answers
    )


async def stagings(fleet: Fleet, load: Load) -> list[str]:
    """Each of ``STAGED`` once, the last of which stays; a line about the callers' p99 meanwhile."""
    calm, busy = [await quiet()], []
    for tag in STAGED:
        began = time.perf_counter()
        await fleet.order("stage", tag)
        if problems := await fleet.staged(tag):
            raise SystemExit(f"{tag} cannot be staged: {problems}")
        busy.append((began, time.perf_counter()))
        if tag != NEW:
            await fleet.order("release")
        await asyncio.sleep(1.0)  # the last worker goes through the behaviour suite
        calm.append(await quiet())
    before, during = p99_ms(load.answers, calm), p99_ms(load.answers, busy)
    took = [until - since for since, until in busy]
    return [
        f"- {len(STAGED)} stagings took {np.median(took):.1f} s each (median); p99 {before:.1f} ms before and after, "
        f"{during:.1f} ms during them, ratio: {during / before:.2f} (at most 1.50: {_yes(during <= 1.5 * before)})"
    ]


async def quiet() -> tuple[float, float]:
    """A while in which nothing is rolled out: from when until when."""
    began = time.perf_counter()
    await asyncio.sleep(QUIET_S)
    return began, time.perf_counter()


async def switched(fleet: Fleet, load: Load, switches: int) -> list[str]:
    """There and back again and again, the last time by hand; lines about how long it took."""
    arrived, last = [], []
    for number in range(switches):
        began = time.perf_counter()
        back = number % 2 == 1
        await fleet.order("rollback" if back else "promote", force=not back)
        await fleet.settled()
        arrived.append(time.perf_counter() - began)
        await asyncio.sleep(0.2)
        last.append(last_answer(load, NEW if back else OLD, began))
    await fleet.order("promote", force=True)
    await fleet.settled()
    await asyncio.sleep(0.5)
    began = time.perf_counter()
    await fleet.command_line("rollback")
    typed = time.perf_counter() - began
    await asyncio.sleep(0.5)
    changed = last_answer(load, NEW, began)
    return [
        f"- {switches} switches: on all {SERVICES * WORKERS} workers after {1e3 * np.median(arrived):.0f} ms (median; "
        f"{1e3 * max(arrived):.0f} at most; 1,000 allowed: {_yes(max(arrived) <= 1.0)}), which the asking includes",
        f"- the last request that the model before still answered came {1e3 * max(last):.0f} ms after the command at "
        f"most (1,000 allowed: {_yes(max(last) <= 1.0)})",
        f"- `python -m serving.rollout rollback`, as typed: the last request that the new model answered came "
        f"{1e3 * changed:.0f} ms after it (1,000 allowed: {_yes(changed <= 1.0)}); the command ended after "
        f"{1e3 * typed:.0f} ms",
    ]


def last_answer(load: Load, tag: str, began: float) -> float:
    """How long after ``began`` the last request came that ``tag`` answered, in seconds; 0 if it came before."""
    return max([0.0, *(answer.began - began for answer in load.answers if answer.tag == tag)])


async def shared(fleet: Fleet, load: Load, weights: int) -> list[str]:
    """Shares by chance, then one that is counted; a line about it."""
    chance = random.Random(1)
    for _ in range(weights):
        await fleet.order("weight", chance.randint(0, 100))
    await fleet.order("weight", SHARE)
    await fleet.settled()
    since = time.perf_counter()
    await asyncio.sleep(SHARE_S)
    there = [answer for answer in load.answers if answer.began >= since and answer.status == 200]
    share = sum(answer.tag == NEW for answer in there) / len(there)
    allowed = 3 * (SHARE / 100 * (1 - SHARE / 100) / len(there)) ** 0.5
    return [
        f"- after {weights} changes of the share, at {SHARE} %: {share:.1%} of {len(there):,} callers (within "
        f"{allowed:.1%}, three standard deviations: {_yes(abs(share - SHARE / 100) <= allowed)})"
    ]


async def rehearse(fleet: Fleet, load: Load, switches: int, weights: int) -> list[str]:
    """The rollouts; returns lines about them."""
    asking = asyncio.create_task(load.run())
    await asyncio.sleep(2.0)
    lines = await stagings(fleet, load)
    lines += await switched(fleet, load, switches)
    lines += await shared(fleet, load, weights)
    load.stop()
    await asking
    return lines


async def measured(
    shape: str, nsmc_at: Path, folder: Path, callers: int, pause_s: float, switches: int, weights: int
) -> list[str]:
    """All lines."""
    bundles = models(folder, shape, nsmc_at)
    (folder / "home").mkdir()
    fill_store(folder / "home", bundles)
    found = (clean(review.text) for review in nsmc.read(nsmc_at / "ratings_test.txt"))
    texts = [text for text in found if text][:TEXTS]
    with redis_server(folder) as server:
        async with running(folder / "home", OLD, server.url, services=SERVICES, workers=WORKERS) as fleet:
            load = Load(fleet.bases, texts, callers, pause_s)
            lines = await rehearse(fleet, load, switches, weights)
    failed = [answer for answer in load.answers if answer.status != 200]
    unlike = wrong(load.answers, bundles, texts)
    return [
        f"{SERVICES} services of {WORKERS} workers, {callers} callers with {1e3 * pause_s:.0f} ms between an answer "
        f"and the next question, {len(load.answers):,} requests; {shape}",
        "",
        f"- failed requests: {len(failed)} (none: {_yes(not failed)})",
        f"- answers unlike what their model says alone: {unlike} (none: {_yes(not unlike)})",
        *lines,
    ]


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(prog="benchmarks.rollout", description=__doc__)
    parser.add_argument("--shape", default="compact", choices=sorted(SHAPES))
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--pause-ms", type=float, default=20.0, help="of a caller, between answer and question")
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--weights", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{described(cpu=True)}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="rollout-") as folder:
        counts = arguments.callers, arguments.pause_ms / 1e3, arguments.switches, arguments.weights
        print("\n".join(asyncio.run(measured(arguments.shape, nsmc_folder(arguments.nsmc), Path(folder), *counts))))


if __name__ == "__main__":
    main()
