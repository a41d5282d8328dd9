"""Half an hour of load, rollouts, new keys and a Redis that dies. ``python -m tests.soak [--minutes 30]``.

A service of two workers with keys, quotas and a journal. Memory is compared while one model is loaded and nothing is
being changed: after the warm-up, and at the end. Prints Markdown; the exit code is 1 where a mark is missed. Ctrl-C
ends it after the change that is under way, and shows what is known by then.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.soak.churn import KEYS, REDIS, ROLLOUT, STAGED, Pace
from tests.soak.report import details, marks, table
from tests.soak.soak import EVERY_S, Soak, soak

MINUTES = 30.0
INTERRUPTED = 130
_SHOWN_EVERY_S = 30.0


class Progress:
    """A line on standard error now and then; on a terminal, the same line each second."""

    def __init__(self) -> None:
        self._shown = 0.0

    def __call__(self, seen: Soak) -> None:
        """Show how far it is."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if not terminal and now - self._shown < _SHOWN_EVERY_S:
            return
        self._shown = now
        left_s = max(0.0, seen.seconds - seen.lasted_s)
        done = seen.churn.done
        sizes = "; ".join(
            f"{name} {usage.rss_mib:,.1f} MiB, {usage.descriptors} fd"
            for name, usage in (seen.samples[-1].usages.items() if seen.samples else ())
        )
        counts = (
            f"{seen.load.requests:,} requests, {seen.load.failed} failed",
            f"{done[ROLLOUT]} rollouts, {done[KEYS]} keys, {done[REDIS] + done[STAGED]} restarts",
            f"{len(seen.churn.failures)} failed",
        )
        line = f"{_clock(seen.lasted_s)} of {_clock(seen.seconds)}, {_clock(left_s)} left; {', '.join(counts)}; {sizes}"
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long (%(default)g)")
    parser.add_argument("--rest", type=float, default=Pace().rest_s, help="seconds between changes (%(default)g)")
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between samples (%(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of the marker in all reviews")
    parser.add_argument("--keep", type=Path, help="a new folder for the service's log and journal, which is kept")
    arguments = parser.parse_args()
    pace = Pace(rest_s=arguments.rest)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        try:
            seen = asyncio.run(_run(folder, 60 * arguments.minutes, arguments.every, pace, arguments.seed))
        except asyncio.CancelledError:
            return INTERRUPTED
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(table(seen))
    print("\n".join(["", *details(seen)]))
    return 0 if all(mark.holds for mark in marks(seen)) else 1


async def _run(folder: Path, seconds: float, every_s: float, pace: Pace, seed: int) -> Soak:
    """The first Ctrl-C is a wish, the second an order; neither is for the processes that are started."""
    enough, task = asyncio.Event(), asyncio.current_task()

    def interrupted() -> None:
        if enough.is_set() and task is not None:
            task.cancel()
        enough.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which is handed on to them
    threading.Thread(target=_hear, daemon=True).start()
    return await soak(
        folder, seconds=seconds, every_s=every_s, pace=pace, seed=seed, enough=enough, progress=Progress()
    )


def _hear() -> None:
    """Be the thread that signals come to."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Event().wait()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
