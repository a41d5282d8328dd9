"""How many processors this process may use."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The CPU time that a container may use, in microseconds of a period (cgroup v2)."""


def cores(quota: Path = QUOTA) -> int:
    """Those that it may run on, or fewer where its container has less time than that; at least 1."""
    allowed = len(os.sched_getaffinity(0))
    try:
        time, period = quota.read_text(encoding="ascii").split()
        return max(1, min(allowed, math.ceil(int(time) / int(period))))
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return allowed
