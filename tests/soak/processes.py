"""What processes take, as Linux tells it."""

import time
from collections.abc import Mapping
from pathlib import Path

from tests.soak.growth import Sample, Usage

PROC = Path("/proc")


def usage(pid: int) -> Usage:
    """Of one process. Raises OSError where it is gone."""
    folder = PROC / str(pid)
    kib: dict[str, int] = {}
    for line in (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, value, *_ = line.split()
        kib[name] = int(value)
    return Usage(
        kib["Rss:"] / 1_024,
        kib["Pss:"] / 1_024,
        kib["Anonymous:"] / 1_024,
        len(list((folder / "fd").iterdir())),
        len(list((folder / "task").iterdir())),
    )


def sample(began: float, pids: Mapping[str, int], *, quiet: bool) -> Sample:
    """Of all processes, now; ``began`` is by ``time.monotonic``. Raises OSError where one is gone."""
    return Sample(time.monotonic() - began, quiet, {name: usage(pid) for name, pid in pids.items()})
