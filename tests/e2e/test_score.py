"""``python -m pipelines.score`` as a process: killed and resumed, in a pipe, within bounded memory, and on Ray."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.bundle import Bundle
from tests.models import TEXTS

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
DECIDED = {"THREADS": "1", "ENGINE": "onnxruntime", "PRECISION": "fp32", "BATCH_TOKENS": "512"}
"""Nothing is left to be timed at start, so that answers are the same to the last bit."""


def command(*arguments: object, bundle: Bundle) -> list[str]:
    return [sys.executable, "-m", "pipelines.score", *map(str, arguments), "--bundle", str(bundle.folder)]


def score(
    *arguments: object, bundle: Bundle, given: bytes | None = None, variables: Mapping[str, str] = DECIDED
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments, bundle=bundle),
        cwd=ROOT,
        env=os.environ | variables,
        input=given,
        capture_output=True,
        timeout=110,
        check=False,
    )


def reviews(count: int) -> list[str]:
    return [f"{TEXTS[number % len(TEXTS)]} {'ㅋ' * (number % 7)}" if number % 1000 else "" for number in range(count)]


def table(path: Path, count: int) -> Path:
    pq.write_table(pa.table({"id": range(count), "text": reviews(count)}), path, row_group_size=10_000)
    return path


def test_a_killed_job_goes_on_and_ends_with_the_same_file(tmp_path: Path, bundle: Bundle) -> None:
    given = table(tmp_path / "in.parquet", 150_000)
    out = tmp_path / "out.parquet"
    folder = Path(f"{out}.parts")
    for number, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        before = len(list(folder.glob("part-*")))
        process = subprocess.Popen(
            command(given, out, bundle=bundle), cwd=ROOT, env=os.environ | DECIDED, stderr=subprocess.DEVNULL
        )
        while len(list(folder.glob("part-*"))) == before:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(30) == status
        assert not out.exists()
    refused = score(given, out, "--truncate", bundle=bundle)
    assert refused.returncode == 1
    assert b"truncate differ" in refused.stderr
    done = score(given, out, bundle=bundle)
    assert done.returncode == 0, done.stderr
    assert b"149,850 reviews judged, 150 rows rejected" in done.stderr
    done = score(given, tmp_path / "whole.parquet", bundle=bundle)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    rejected = pq.read_table(f"{out}.rejected.parquet")
    assert rejected["row"].to_pylist() == list(range(0, 150_000, 1000))
    assert not folder.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.parquet",
        "out.parquet",
        "out.parquet.rejected.parquet",
        "whole.parquet",
        "whole.parquet.rejected.parquet",
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_pipe(tmp_path: Path, bundle: Bundle, kind: str) -> None:
    path = table(tmp_path / "in.parquet", 20)
    given = path.read_bytes()
    if kind == "csv":
        given = b"id,text\n" + "".join(f'{row},"{text}"\n' for row, text in enumerate(reviews(20))).encode()
    done = score("-", "-", "--format", kind, "--rejected", tmp_path / "bad.parquet", bundle=bundle, given=given)
    assert done.returncode == 0, done.stderr
    found = pq.read_table(pa.BufferReader(done.stdout))
    assert found["text"].to_pylist() == reviews(20)[1:]
    assert pq.read_table(tmp_path / "bad.parquet")["row"].to_pylist() == [0]
    assert score(path, tmp_path / "out.parquet", bundle=bundle).returncode == 0
    assert found["positive"].equals(pq.read_table(tmp_path / "out.parquet")["positive"])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["in.parquet", "in.parquet"], 1, "OUT is IN"),
        (["in.parquet", "-"], 1, "--rejected"),
        (["none.parquet", "out.parquet"], 1, "none.parquet is not a file"),
        (["-", "out.parquet"], 1, "--format"),
        (["-", "out.parquet", "--engine", "ray"], 2, "standard input"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    tmp_path: Path, bundle: Bundle, arguments: Sequence[str], status: int, message: str
) -> None:
    table(tmp_path / "in.parquet", 5)
    places = [str(tmp_path / name) if "." in name else name for name in arguments]
    done = score(*places, bundle=bundle, given=b"")
    assert done.returncode == status
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet"]


def test_memory_does_not_grow_with_the_table(tmp_path: Path, bundle: Bundle) -> None:
    peaks = []
    for count in (70_000, 280_000):
        given = table(tmp_path / f"{count}.parquet", count)
        process = subprocess.Popen(
            command(given, tmp_path / f"{count}.out.parquet", bundle=bundle),
            cwd=ROOT,
            env=os.environ | DECIDED,
            stderr=subprocess.DEVNULL,
        )
        watched, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, watched.memory_info().rss)
            time.sleep(0.02)
        assert process.returncode == 0
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 50 * 2**20, peaks  # 210,000 rows more take 100 MiB and more, if they are kept


def test_two_ray_workers_write_the_same_file(tmp_path: Path, bundle: Bundle) -> None:
    given = table(tmp_path / "in.parquet", 30_000)
    results: dict[str, Any] = {}
    for engine in ("local", "ray"):
        out = tmp_path / f"{engine}.parquet"
        done = score(given, out, "--engine", engine, "--workers", 2, bundle=bundle)
        assert done.returncode == 0, done.stderr
        results[engine] = (pq.read_table(out), pq.read_table(f"{out}.rejected.parquet"))
    assert results["ray"][0].num_rows == 29_970
    for ours, theirs in zip(results["local"], results["ray"], strict=True):
        assert ours.equals(theirs)


def test_a_table_that_breaks_off_is_one_message_on_ray_too(tmp_path: Path, bundle: Bundle) -> None:
    # parsed in blocks of 8 MiB, so that the beginning is whole
    rows = "".join(f"{row},{os.urandom(64).hex()}\n" for row in range(100_000))
    whole = gzip.compress(f"id,text\n{rows}".encode(), 1)
    given = tmp_path / "in.csv.gz"
    given.write_bytes(whole[:-1000])
    done = score(given, tmp_path / "out.parquet", "--engine", "ray", "--truncate", bundle=bundle)
    assert done.returncode == 1
    assert b"in.csv.gz cannot be read on" in done.stderr
    assert b"Traceback" not in done.stderr
