"""``python -m tests.fuzz [--count N] [--seed N] [--connections N]``; exits with 1 where anything was found.

``--only N`` makes request N of the seed again, alone, and shows it.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.fuzz.attack import Outcome
from tests.fuzz.bodies import case
from tests.fuzz.campaign import campaign, details, table
from tests.fuzz.canary import Canary

COUNT = 1_000_000
_SHOWN_EVERY_S = 10.0
_SHOWN_BYTES = 2_000


class Progress:
    """A line on standard error now and then; on a terminal, the same line each second."""

    def __init__(self, count: int) -> None:
        self._count, self._began, self._shown = count, time.monotonic(), 0.0

    def __call__(self, outcome: Outcome) -> None:
        """Show how far it is."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if not outcome.sent or (not terminal and now - self._shown < _SHOWN_EVERY_S):
            return
        self._shown = now
        rate = outcome.sent / (now - self._began)
        left_s = (self._count - outcome.sent) / rate
        line = (
            f"{outcome.sent:,} of {self._count:,}, {rate:,.0f}/s, {left_s // 60:.0f} min {left_s % 60:02.0f} s left, "
            f"{outcome.found.total():,} found"
        )
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--connections", type=int, default=48)
    parser.add_argument("--only", type=int, help="the number of one request")
    parser.add_argument("--keep", type=Path, help="a new folder for the service's log, which is kept")
    arguments = parser.parse_args()
    first, count = 0, arguments.count
    if arguments.only is not None:
        first, count = arguments.only, 1
        asked = case(arguments.seed, first, Canary(arguments.seed))
        print(f"{asked.route}: {', '.join(asked.mutators)}; {len(asked.data):,} bytes\n{asked.data[:_SHOWN_BYTES]!r}\n")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        report = uvloop.run(
            campaign(
                folder,
                seed=arguments.seed,
                count=count,
                first=first,
                connections=arguments.connections,
                progress=Progress(count),
            )
        )
    print(table(report))
    print("\n".join(details(report)))
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
