"""The short form of ``make fuzz``: mutated requests over real HTTP harm nothing and leave no text behind."""

from pathlib import Path

import pytest
import uvloop

from tests.fuzz.campaign import campaign, details, table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

COUNT, SEED = 4_000, 0


def test_mutated_requests_do_no_harm_and_leave_no_text(tmp_path: Path) -> None:
    report = uvloop.run(campaign(tmp_path, seed=SEED, count=COUNT))
    assert report.clean, "\n".join([table(report), *details(report)])
    assert report.outcome.sent == COUNT
    assert set(report.leaks) == {"logs", "metrics", "Redis"}
