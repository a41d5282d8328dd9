"""Two experiments through DVC's real queue, in a git repository of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from pipelines import artifacts, workspace
from pipelines.registry import EXPERIMENT_TAG, local_uri

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
TINY = {"layers": 1, "hidden": 32, "heads": 2, "embedding": 16, "feed_forward": 64, "vocabulary": 600}
GRID = "train.seed=1,2"


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Without what a developer has set, or the git hook that runs the tests."""
    outside = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "NSMC_CRAWL", "ACCELERATE_CONFIG", "MLFLOW_PARENT_RUN")
    variables = {key: value for key, value in os.environ.items() if key not in outside}
    return variables | {"DVC_NO_ANALYTICS": "1"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The demo's pipeline with a model that is trained in seconds, committed; one file has changed since."""
    folder = tmp_path_factory.mktemp("sweep") / "repository"
    folder.mkdir()
    call(folder, "git", "init", "--quiet")
    for key, value in (("user.name", "tests"), ("user.email", "tests@localhost")):
        call(folder, "git", "config", key, value)  # DVC commits experiments with it
    call(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    for name in (".gitignore", ".dvcignore", ".dvc/config"):
        shutil.copyfile(root / name, folder / name)
    workspace.make("demo", folder, root)
    path = folder / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["backbone"] |= {"folder": None, "sha256": None, "keep_head": False, "architecture": TINY}
    settings["train"]["epochs"] = 1
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", "the pipeline")
    settings["train"]["learning_rate"] = 0.00123
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def test_a_sweep_from_the_queue_to_the_table(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (repository / "params.yaml").read_bytes()
    output = call(repository, sys.executable, "-m", "pipelines.sweep", GRID)
    table = output[output.index("experiment  ") :].splitlines()
    first, second = (line.split() for line in table[1:3])
    assert {first[1], second[1]} == {"1", "2"}
    assert float(first[2]) >= float(second[2])
    assert f"dvc exp apply {first[0]}\n" in output
    assert "[2/2 done, " in output

    # nothing of it is in the workspace, and nothing was registered
    assert (repository / "params.yaml").read_bytes() == before
    assert call(repository, "git", "status", "--porcelain") == " M params.yaml\n"
    assert not (repository / artifacts.ROOT).exists()

    monkeypatch.chdir(repository)
    client = MlflowClient(local_uri())
    assert not client.search_registered_models()
    experiment = client.get_experiment_by_name("nsmc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = {run.data.tags[EXPERIMENT_TAG]: run for run in runs if run is not parent}
    assert set(children) == {first[0], second[0]}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.params["train.seed"] for run in children.values()} == {"1", "2"}
    assert {run.data.params["train.learning_rate"] for run in children.values()} == {"0.00123"}, (
        "as it was, uncommitted"
    )
    assert parent.data.tags["best_experiment"] == first[0]
    assert round(children[first[0]].data.metrics["dev/accuracy"], 4) == float(first[2])
    assert client.get_metric_history(children[first[0]].info.run_id, "train/loss")


def test_the_best_is_taken_over_and_needs_no_training(repository: Path) -> None:
    names = call(repository, sys.executable, "-m", "dvc", "exp", "list", "--name-only").split()
    assert len(names) == 2
    # it is an error to DVC that nothing was ever exported here, but one that it finds when all else is in place
    apply = [sys.executable, "-m", "dvc", "exp", "apply", names[0]]
    subprocess.run(apply, cwd=repository, env=environment(), capture_output=True)
    seed = yaml.safe_load((repository / "params.yaml").read_text())["train"]["seed"]
    assert seed in (1, 2)
    status = call(repository, sys.executable, "-m", "dvc", "status", "--json", "--with-deps", "evaluate")
    assert json.loads(status) == {}
    output = call(repository, sys.executable, "-m", "pipelines.sweep", f"train.seed={seed}")
    assert " known before\n" in output
