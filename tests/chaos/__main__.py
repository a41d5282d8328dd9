"""Break what is beneath the service, under load, and print what callers saw. ``python -m tests.chaos [WHAT ...]``.

Faults of Redis: two services of one worker each, with tiny models and no cache in their processes, around one Redis;
callers who ask for a new text and one asked before, in turn. ``workers-killed``: a service of two workers, one of which
is killed again and again. ``services-stopped``: two services behind the balancer, one of which is told to stop.
``training-interrupted``: a training that is ended at random moments, and taken up again each time. ``overload``: three
times what a service of the size of KoELECTRA small gets done.
Prints Markdown tables; the exit code is 1 where a mark is missed.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

from benchmarks.reviews import cleaned
from benchmarks.rollout import untrained
from benchmarks.subjects import SHAPES, Corpus, nsmc_folder
from tests.chaos import interrupted, measure, overload, workers
from tests.chaos.faults import FAULTS
from tests.chaos.interrupted import EVERY_STEPS, Interrupted
from tests.chaos.load import Answer
from tests.chaos.measure import OPENING_S, RUN, Outcome
from tests.chaos.overload import Overload
from tests.chaos.scene import CALLERS, PAUSE_S, RETRY_AFTER_S, SERVICES, WORKERS, endured, scene
from tests.chaos.workers import DRAIN_S, DYING_S, Ended

BEFORE_S, FAULT_S, TIMES = 4.0, 8.0, 20
ENDS: dict[str, Callable[[Path, int], Awaitable[Ended]]] = {
    "workers-killed": workers.killed,
    "services-stopped": workers.stopped,
}
TRAINING, OVERLOAD = "training-interrupted", "overload"
OVERLOAD_S, PEAK_S, AFTER_S = 120.0, 15.0, 10.0
SHAPE = "small"


async def outcomes(faults: Sequence[str], before_s: float, fault_s: float, retry_after_s: float) -> list[Outcome]:
    """Of each fault of Redis, and a line about it on standard error as soon as it is known."""
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        _say("starting services")
        async with scene(Path(folder), retry_after_s) as stage:
            async with aclosing(endured(stage, faults, before_s=before_s, fault_s=fault_s)) as results:
                async for result in results:
                    found.append(result)
                    _say(result.row)
                    _say(*_reasons(result.failures))
            await stage.fleet.workers(SERVICES * WORKERS)
            await stage.fleet.settled()
    return found


async def ends(ways: Sequence[str], times: int) -> list[Ended]:
    """Of each way to end a worker."""
    found: list[Ended] = []
    for way in ways:
        _say(f"{way}, {times} times")
        with tempfile.TemporaryDirectory() as folder:
            found.append(await ENDS[way](Path(folder), times))
        _say(found[-1].row, *_reasons(found[-1].others))
    return found


def training(times: int) -> Interrupted:
    """Of a training that is ended so often."""
    _say(f"{TRAINING}, {times} times")
    with tempfile.TemporaryDirectory() as folder:
        return interrupted.at_random(Path(folder), times)


async def overloaded(nsmc_at: Path, seconds: float) -> Overload:
    """Of a service that is asked for more than it can do."""
    _say(f"{OVERLOAD}, {seconds:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.load(nsmc_at, SHAPES[SHAPE].architecture.vocabulary)
        bundle = untrained(Path(folder) / "bundle", SHAPE, corpus)
        texts = cleaned(nsmc_at / "ratings_test.txt")
        async with overload.service(Path(folder) / "service", bundle) as fleet:
            return await overload.overload(fleet, texts, peak_s=PEAK_S, overload_s=seconds, after_s=AFTER_S)


def described(before_s: float, fault_s: float, retry_after_s: float) -> str:
    """What the table of faults is about."""
    return (
        f"{SERVICES} services of {WORKERS} worker, {CALLERS} callers with {1e3 * PAUSE_S:.0f} ms between an answer and "
        f"the next question, each fault for {fault_s:g} s after {before_s:g} s without; `REDIS_TIMEOUT_MS` 50, "
        f"`REDIS_RETRY_AFTER_S` {retry_after_s:g}. Failures count from before the fault until the cache is in use "
        f"again. The p99 during a fault is of all requests that began between {OPENING_S:g} s after it, when breakers "
        "have opened, and its end. The cache is in use "
        f"again with the first of {RUN} answers in a row, of both services, to texts that were asked before."
    )


def described_ends() -> str:
    """What the table of ends is about."""
    return (
        f"{workers.CALLERS} callers; SIGKILL: a service of {workers.WORKERS} workers, and a request that failed was in "
        f"flight if it began at most {DYING_S:g} s after the signal and ended after it; SIGTERM: {workers.SERVICES} "
        f"services, `DRAIN_S` {DRAIN_S:g}, behind HAProxy with `deploy/haproxy.cfg`."
    )


def described_training() -> str:
    """What the table of the training is about."""
    return (
        f"The stage `train` with the settings of the demo and a checkpoint every {EVERY_STEPS} steps; half of the "
        "signals are sent when a checkpoint begins to be written, or a moment later. A run of MLflow that was ended "
        "before its first checkpoint stood is another one, and KILLED."
    )


def described_overload(seconds: float) -> str:
    """What the table of the overload is about."""
    return (
        f"A model of the size of KoELECTRA {SHAPE}, untrained, in full precision on one thread, one worker, singles "
        f"that no cache knows; {overload.CLIENTS} callers that ask again when they are answered say what is the most; "
        f"then requests come by chance for {seconds:.0f} s whatever becomes of them, and afterwards at "
        f"{overload.AFTERWARDS:.0%} of the most. Whoever asks shares the processor with the service."
    )


def main() -> int:
    """Entry point of ``python -m tests.chaos``; returns an exit code."""
    every = [*FAULTS, *ENDS, TRAINING, OVERLOAD]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"of {', '.join(every)}; all by themselves")
    parser.add_argument("--before", type=float, default=BEFORE_S, help="seconds without a fault (%(default)s)")
    parser.add_argument("--fault", type=float, default=FAULT_S, help="seconds of each fault (%(default)s)")
    parser.add_argument("--retry-after", type=float, default=RETRY_AFTER_S, help="REDIS_RETRY_AFTER_S (%(default)s)")
    parser.add_argument("--times", type=int, default=TIMES, help="how often something is ended (%(default)s)")
    parser.add_argument("--overload", type=float, default=OVERLOAD_S, help="seconds of overload (%(default)s)")
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    options = parser.parse_args()
    what = options.what or every
    if unknown := sorted(set(what) - set(every)):
        parser.error(f"there is no {', '.join(unknown)}")
    held = True
    if faults := [name for name in what if name in FAULTS]:
        times = options.before, options.fault, options.retry_after
        found = asyncio.run(outcomes(faults, *times))
        _table(described(*times), measure.HEAD, (result.row for result in found))
        held = all(all(result.holds) for result in found)
    if ways := [name for name in what if name in ENDS]:
        ended = asyncio.run(ends(ways, options.times))
        _table(described_ends(), workers.HEAD, (result.row for result in ended))
        held = held and all(result.holds for result in ended)
    if TRAINING in what:
        learned = training(options.times)
        _table(described_training(), interrupted.HEAD, [learned.row])
        held = held and learned.holds
    if OVERLOAD in what:
        seen = asyncio.run(overloaded(nsmc_folder(options.nsmc), options.overload))
        print(described_overload(options.overload), "", *seen.rows, "", sep="\n", flush=True)
        held = held and seen.holds
    return 0 if held else 1


def _table(about: str, head: str, rows: Iterable[str]) -> None:
    print(about, "", head, *rows, "", sep="\n", flush=True)


def _reasons(failures: Sequence[Answer]) -> list[str]:
    """The most frequent."""
    counted = Counter((answer.status, answer.said) for answer in failures)
    return [f"  {count} x {status} {said}" for (status, said), count in counted.most_common(5)]


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
