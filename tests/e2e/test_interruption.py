"""A training that is stopped in the middle goes on where it was, as the same run, to the same weights."""

import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from data.files import sha256
from pipelines import artifacts, curves
from pipelines.registry import local_uri
from tests.chaos.interrupted import WEIGHTS, training
from tests.e2e.conftest import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def put_away(folder: Path) -> set[tuple[str, int]]:
    """The epochs that can be gone on from; one that is being replaced just now is not among them."""
    found = set()
    for path in folder.glob(".cache/checkpoints/*/progress.json"):
        with suppress(FileNotFoundError):
            found.add((str(path), path.stat().st_mtime_ns))
    return found


def stopped_after_an_epoch(folder: Path, number: int) -> int:
    """Train, and send ``number`` once another epoch was put away; returns the exit status."""
    before, deadline = put_away(folder), time.monotonic() + 120
    with training(folder) as (process, _):
        while put_away(folder) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        return process.wait(timeout=60)


def test_stopped_twice(reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copyfile(reproduced.folder / "params.yaml", tmp_path / "params.yaml")
    for folder in (artifacts.PREPARED, artifacts.BACKBONE):
        shutil.copytree(reproduced.folder / folder, tmp_path / folder)
    shutil.copyfile(reproduced.folder / artifacts.LESSONS, tmp_path / artifacts.LESSONS)
    monkeypatch.chdir(tmp_path)
    client = MlflowClient(local_uri())

    assert stopped_after_an_epoch(tmp_path, signal.SIGTERM) == 143
    experiment = client.get_experiment_by_name("nsmc")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"

    assert stopped_after_an_epoch(tmp_path, signal.SIGKILL) == -signal.SIGKILL
    assert not WEIGHTS.exists(), "nothing half-written stands where the model belongs"

    with training(tmp_path) as (process, _):
        assert process.wait(timeout=120) == 0
    assert sha256(WEIGHTS) == sha256(reproduced.folder / WEIGHTS)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    _, epochs = curves.read()
    assert {point.step for point in client.get_metric_history(run.info.run_id, "epoch/dev_accuracy")} == {
        report["step"] for report in epochs
    }
    plots = (artifacts.STEPS_PLOT, artifacts.EPOCHS_PLOT)
    assert all((tmp_path / plot).read_bytes() == (reproduced.folder / plot).read_bytes() for plot in plots)
    assert not list(Path(".cache/checkpoints").iterdir())
