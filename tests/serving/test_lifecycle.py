import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.lifecycle import VISIBLE_DEVICES, StartUp, ended, keep_own_gpu


@pytest.mark.parametrize(
    ("visible", "gpus", "workers", "expected"),
    [
        (None, 2, 2, ["0", "1"]),
        (None, 2, 4, ["0", "1", "0", "1"]),
        ("3,5", 2, 3, ["3", "5", "3"]),
        ("GPU-a, GPU-b", 2, 2, ["GPU-a", "GPU-b"]),
        ("7", 1, 2, ["7", "7"]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(visible: str | None, gpus: int, workers: int, expected: list[str]) -> None:
    found = []
    for worker in range(1, workers + 1):
        environment = {} if visible is None else {VISIBLE_DEVICES: visible}
        keep_own_gpu(environment, worker, gpus)
        found.append(environment[VISIBLE_DEVICES])
    assert found == expected


def test_the_start_up_is_told_in_parts() -> None:
    start_up = StartUp()
    start_up.lap("import")
    time.sleep(0.05)
    start_up.lap("model")
    assert list(start_up.parts) == ["import_s", "model_s"]
    assert 0.04 < start_up.parts["model_s"] < 1.0
    assert start_up.total_s == pytest.approx(sum(start_up.parts.values()), abs=0.05)


SERVER = """
import asyncio, signal, sys, time
from serving.lifecycle import Draining

async def main():
    stopped = asyncio.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())  # as uvicorn does
    draining = Draining(float(sys.argv[1]), lambda: print("not ready", flush=True))
    draining.watch()
    print("ready", flush=True)
    await stopped.wait()
    print("stopped", draining.begun, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("drain_s", "signals", "at_least_s", "at_most_s"), [(0.6, 1, 0.55, 5), (0.0, 1, 0, 0.5), (60.0, 2, 0, 5)]
)
def test_sigterm_drains_first_and_a_second_one_does_not_wait(
    root: Path, drain_s: float, signals: int, at_least_s: float, at_most_s: float
) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, str(drain_s)], cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        started = time.monotonic()
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        lines = process.stdout.read().splitlines()
        assert process.wait(5) == 0
    assert at_least_s <= time.monotonic() - started <= at_most_s
    assert lines == ([b"not ready"] if drain_s else []) + [b"stopped True"]


async def test_work_that_misses_a_cancellation_is_ended_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.lifecycle.AGAIN_S", 0.01)

    async def deaf() -> None:
        """As ``asyncio.wait_for`` of Python 3.11 is at times."""
        for _ in range(3):
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue
        raise RuntimeError("nobody wants to know")

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(task), 5.0)
    assert task.done()
