"""The short form of ``make soak``: a rollout, another key and a Redis that dies, under load."""

from pathlib import Path

import pytest

from tests.soak.churn import KEYS, REDIS, ROLLOUT, Pace
from tests.soak.report import details, marks, table
from tests.soak.soak import soak

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SECONDS, EVERY_S = 12.0, 0.25
PACE = Pace(rest_s=2.0, settle_s=0.5, hold_s=0.5, out_s=1.0)
MOST_GROWTH = 0.15
"""So soon caches are still being filled, and each model was loaded once."""


async def test_what_operators_do_fails_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    seen = await soak(tmp_path, seconds=SECONDS, every_s=EVERY_S, pace=PACE, warm_rollouts=1)
    assert all(mark.holds for mark in marks(seen, MOST_GROWTH)), "\n".join([table(seen, MOST_GROWTH), *details(seen)])
    assert min(seen.churn.done[what] for what in (ROLLOUT, KEYS, REDIS)) >= 1
    assert set(seen.leaks) == {"metrics", "Redis", "logs", "journal"}
