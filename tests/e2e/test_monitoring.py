"""A real Prometheus watches real services under load and through a rollout: whatever is asked of it is answered."""

import asyncio
import math
from pathlib import Path

import pytest

from benchmarks.dashboards import DASHBOARDS, MOST_BYTES, SERVICES, WORKERS, Source, draw, panels, rolled_out, watched
from tests.deploy.prometheus import rules, selectors

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
RATE_INTERVAL = "10s"


def unanswered(source: Source) -> list[str]:
    """Queries of the dashboards, recording rules and series of alerts that give no number now.

    Windows of a week are answered with the seconds that there are; nothing is compared to an offset.
    """
    asked = [
        (f"{name}, {panel.title}", query)
        for name in DASHBOARDS
        for panel in panels(name, RATE_INTERVAL)
        for query, _ in panel.queries
    ]
    asked += [(rule["record"], rule["record"]) for rule in rules() if "record" in rule]
    # an alert that is silent has no answer: what it reads must have one
    asked += [
        (rule["alert"], str(selector)) for rule in rules() if "alert" in rule for selector in selectors(rule["expr"])
    ]
    return [
        f"{where}: {query}"
        for where, query in asked
        if not any(math.isfinite(value) for series in source.now(query) for value in series.values)
    ]


async def test_everything_that_is_asked_has_an_answer(tmp_path: Path) -> None:
    async with watched(tmp_path) as (fleet, url):
        await rolled_out(fleet, 30.0)
        source = Source(url)
        try:
            assert await asyncio.to_thread(unanswered, source) == []
            groups = source.get("rules")["groups"]
            sick = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"]
            assert sick == []
            assert {len(source.now("up == 1")), *(series.values[0] for series in source.now("sum(up)"))} == {SERVICES}
            (ready,) = source.now("sum(sentiment_ready)")
            assert ready.values == [SERVICES * WORKERS]
            (generation,) = source.now("min(sentiment_rollout_generation)")
            assert generation.values == [4.0], "stage, two weights, promote"
            firing = {series.labels["alertname"] for series in source.now('ALERTS{alertstate="firing"}')}
            assert firing == set(), "a rollout under load is no emergency"
        finally:
            source.close()
        files = await asyncio.to_thread(draw, url, tmp_path / "images", 0.5, RATE_INTERVAL)
    assert all(0 < file.stat().st_size < MOST_BYTES for file in files)
