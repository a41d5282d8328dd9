"""More than a service can do, through a real process; two minutes of it are ``make chaos WHAT=overload``."""

from pathlib import Path

import pytest

from tests.chaos.overload import overload, service
from tests.models import write_bundle

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

BATCH = 8
"""A tiny model is faster than those who ask: in batches of long reviews it has enough to do."""
TEXTS = [f"{number} " + "정말 재미있고 따뜻한 영화였어요 " * 40 for number in range(512)]


async def test_what_is_too_much_is_refused_at_once_and_the_rest_is_answered(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", seed=1).folder
    async with service(tmp_path / "service", bundle) as fleet:
        found = await overload(fleet, TEXTS, BATCH, times=2.5, peak_s=2.0, overload_s=6.0, after_s=3.0)
    assert found.refused > 0
    assert found.told_when[0] == found.told_when[1]
    assert found.otherwise == 0
    assert found.same_workers
    assert found.good > 0.0, "how much, make chaos says: here others use the processor, too"
