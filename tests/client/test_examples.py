"""The examples run as they are, against a real server."""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.client.flaky_server import MARKUP, FlakyServer, problem

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NEEDS = {"analyze.sh": ("sh", "curl"), "analyze.mjs": ("node",), "analyze.py": (sys.executable,)}
RUNNABLE = [name for name, needed in NEEDS.items() if all(map(shutil.which, needed))]
"""Those that what is installed here can run."""
TEXT = "이 영화 정말 재미있어요! 강력 추천합니다."
BATCH = ["정말 최고의 영화였어요!", "시간 낭비였습니다.", "그냥 그래요."]
KEY = "k-0123456789-secret"


def run(example: str, flaky: FlakyServer, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")} | {
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(EXAMPLES.parent / "client"),
        "PYTHONWARNINGS": "error",
        "SENTIMENT_URL": f"{flaky.url}/",
        "SENTIMENT_API_KEY": KEY,
    }
    done = subprocess.run(
        [NEEDS[example][0], EXAMPLES / example, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
    )
    assert KEY not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("example", RUNNABLE)
def test_an_example_shows_a_review_several_and_a_refusal(example: str, flaky: FlakyServer) -> None:
    asked_s = 1 if example == "analyze.mjs" else 0  # it alone has a retry of its own
    flaky.script.append(problem("overloaded", 503, "the queue is full", Retry_After=str(asked_s)))
    started = time.monotonic()
    done = run(example, flaky)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started >= asked_s
    assert "긍정 0.75" in done.stdout or '"sentiment": "\\uae0d\\uc815", "score": 0.75' in done.stdout
    assert "urn:nsmc-sentiment:problem:empty-text" in done.stdout
    assert flaky.paths()[:4] == ["/analyze", "/analyze", "/batch", "/analyze"], "one overloaded, then asked again"
    assert [asked.body for asked in flaky.asked[1:4]] == [
        {"text": TEXT, "return_probabilities": True},
        {"texts": BATCH},
        {"text": MARKUP},
    ]
    assert {asked.headers["Authorization"] for asked in flaky.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("example", RUNNABLE)
def test_an_example_that_is_refused_fails(example: str, flaky: FlakyServer) -> None:
    flaky.always = problem("unauthorized", 401, "the key is not known")
    done = run(example, flaky)
    assert done.returncode not in (0, 2)
    assert "the key is not known" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(flaky.asked) == 1


def test_a_csv_file_is_scored_in_its_order(flaky: FlakyServer, tmp_path: Path) -> None:
    texts = [f'{number}번째 "영화",\n최고' for number in range(200)]
    table = tmp_path / "reviews.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(
            [["id", "document"], *([number, text] for number, text in enumerate(texts)), [200, " "]]
        )
    done = run("analyze.py", flaky, table)
    assert done.returncode == 0, done.stderr
    head, *rows = csv.reader(done.stdout.splitlines(keepends=True))
    assert head == ["document", "sentiment", "score"]
    assert rows == [[text, "긍정", "0.75"] for text in texts]
    assert len(flaky.asked) == 4
