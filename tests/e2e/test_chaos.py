"""Faults of Redis under load, through real processes; all of them, with their times, are ``make chaos``."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.scene import SERVICES, WORKERS, Scene, endured, scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FAULTS = ("killed", "hung", "read-only", "garbage", "wrong answers")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, retry_after_s=0.5) as stage:
        yield stage


async def test_a_redis_that_fails_fails_nobody_and_is_used_again(stage: Scene) -> None:
    found = [outcome async for outcome in endured(stage, FAULTS, before_s=0.5, fault_s=2.0)]
    assert [outcome.fault for outcome in found] == list(FAULTS)
    for outcome in found:
        assert outcome.failures == (), outcome.fault
        assert outcome.unlike == 0, outcome.fault
        assert outcome.again_s is not None, outcome.fault
    await stage.fleet.workers(SERVICES * WORKERS)
    await stage.fleet.settled()
