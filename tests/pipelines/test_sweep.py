"""The sweep around a queue that is made up; ``tests/e2e/test_sweep.py`` has a real one."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipelines import profile, sweep
from pipelines.errors import PipelineError, SettingsError
from pipelines.experiments import Experiment, Queue
from pipelines.params import PARAMS_FILE, Params, Register
from pipelines.registry import EXPERIMENT_TAG, EXPERIMENT_VARIABLE, PARENT_VARIABLE, URI_VARIABLE, Registry, local_uri

NAMES = Register(experiment="nsmc", model="koelectra-nsmc")
QUEUED, RUNNING, FAILED = (Experiment(state, {}) for state in ("queued", "running", "failed"))


def success(accuracy: float, log_loss: float = 0.5) -> Experiment:
    dev = {"accuracy": accuracy, "log_loss": log_loss, "ece": 0.01, "auroc": 0.9}
    evaluation = {"dev": dev, "test": {"accuracy": 0.123456}}
    reports = {"artifacts/reports/evaluation.json": evaluation, "artifacts/reports/train.json": {"seconds": 61.7}}
    return Experiment("success", reports)


class Played(Queue):
    """A queue whose experiments come out as ``outcomes`` says, in the order in which they were put; trains nothing."""

    outcomes: tuple[Experiment | None, ...] = ()
    looks_fail = 0
    calls: tuple[str, ...] = ()

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self.settings: dict[str, Mapping[str, Any]] = {}
        self.over = False

    def claim(self) -> None:
        Played.calls += ("claim",)

    def put(self, name: str, settings: Mapping[str, Any], stage: str) -> None:
        assert stage == "evaluate"
        self.settings[name] = settings

    @contextmanager
    def tidied(self) -> Iterator[None]:
        try:
            yield
        finally:
            Played.calls += ("tidied",)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A process that ends at once; every experiment with an outcome leaves a child run, as training would."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(PARENT_VARIABLE, self._environment[PARENT_VARIABLE])
            for name, outcome in zip(self.settings, self.outcomes, strict=True):
                patch.setenv(EXPERIMENT_VARIABLE, name)
                if outcome is not None and outcome.state == "success":
                    Registry(NAMES, self._environment[URI_VARIABLE]).start_run("demo", {}, [], "")
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        yield process

    def look(self, commit: str) -> dict[str, Experiment]:
        assert commit == "c" * 40
        if Played.looks_fail:
            Played.looks_fail -= 1
            raise PipelineError("the folder has vanished")
        return {name: each for name, each in zip(self.settings, self.outcomes, strict=True) if each is not None}

    def log(self, name: str, lines: int = 5) -> str:
        return f"the log of {name}"


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Played]:
    """The demo's settings in an empty folder, and the sweep with a queue that is played."""
    monkeypatch.chdir(tmp_path)
    for name in (URI_VARIABLE, "NSMC_SOURCE", "NSMC_CRAWL", "ACCELERATE_CONFIG", PARENT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    profile.write("demo", PARAMS_FILE)
    monkeypatch.setattr(sweep, "Queue", Played)
    monkeypatch.setattr(sweep, "starting_point", lambda: "c" * 40)
    monkeypatch.setattr(sweep, "FIRST_PAUSE_S", 0.0)
    for name, value in (("outcomes", ()), ("looks_fail", 0), ("calls", ())):
        monkeypatch.setattr(Played, name, value)
    return Played


def parent_run() -> Any:
    client = MlflowClient(local_uri())
    experiment = client.get_experiment_by_name("nsmc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)


def test_the_best_on_dev_comes_first_and_the_runs_get_their_figures(
    played: type[Played], capsys: pytest.CaptureFixture[str]
) -> None:
    played.outcomes = (success(0.8), success(0.9, log_loss=0.4), success(0.9, log_loss=0.3))
    played.looks_fail = 2
    sweep.sweep("train.seed=1,2,3")
    output = capsys.readouterr().out
    table = output[output.index("experiment  ") :].splitlines()
    header = ("experiment", "train.seed", "dev/accuracy", "dev/log_loss", "dev/ece", "seconds", "run")
    assert tuple(table[0].split()) == header
    assert [line.split()[1:6] for line in table[1:4]] == [
        ["3", "0.9000", "0.3000", "0.0100", "62"],
        ["2", "0.9000", "0.4000", "0.0100", "62"],
        ["1", "0.8000", "0.5000", "0.0100", "62"],
    ]
    best = table[1].split()[0]
    assert f"dvc exp apply {best}\n" in output
    assert "0.1234" not in output, "test is not for choosing"
    assert played.calls == ("claim", "tidied")
    parent = parent_run()
    assert (parent.info.status, parent.data.params["trials"]) == ("FINISHED", "3")
    assert parent.data.tags["best_experiment"] == best
    assert parent.data.metrics == {"dev/accuracy": 0.9, "dev/log_loss": 0.3, "dev/ece": 0.01}
    children = Registry(NAMES).children(parent.info.run_id)
    child = MlflowClient(local_uri()).get_run(children[best])
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags[EXPERIMENT_TAG] == best
    assert child.data.metrics["dev/log_loss"] == 0.3
    assert children[best].startswith(table[1].split()[-1])


def test_a_failed_experiment_is_reported_after_the_others(
    played: type[Played], capsys: pytest.CaptureFixture[str]
) -> None:
    played.outcomes = (FAILED, success(0.8))
    with pytest.raises(PipelineError, match=r"^1 of 2 experiments failed: sweep-\d{4}-\d{6}-1$"):
        sweep.sweep("train.seed=1,2")
    output = capsys.readouterr().out
    assert "-2 train.seed=2: success, dev accuracy 0.8000" in output
    assert "-1 train.seed=1 did not succeed; it ended with\nthe log of sweep-" in output
    assert parent_run().info.status == "FINISHED"


@pytest.mark.parametrize("outcome", [FAILED, RUNNING, QUEUED, Experiment("success", {}), None])
def test_what_has_no_figures_when_the_worker_is_gone_has_failed(
    played: type[Played], capsys: pytest.CaptureFixture[str], outcome: Experiment | None
) -> None:
    played.outcomes = (outcome,)
    with pytest.raises(PipelineError, match="1 of 1 experiments failed"):
        sweep.sweep("train.seed=1")
    assert "no experiment succeeded" in capsys.readouterr().out


def test_a_queue_that_cannot_be_read_for_long_ends_the_sweep(played: type[Played]) -> None:
    played.outcomes, played.looks_fail = (success(0.8),), sweep.MOST_FAILED_LOOKS
    with pytest.raises(PipelineError, match="the folder has vanished"):
        sweep.sweep("train.seed=1")
    assert parent_run().info.status == "FAILED"
    assert played.calls == ("claim", "tidied")


def test_nothing_is_begun_for_a_grid_that_is_wrong(played: type[Played]) -> None:
    with pytest.raises(SettingsError, match=r"GRID has train\.sed"):
        sweep.sweep("train.sed=1")
    assert played.calls == ()
    assert not Path("mlruns").exists()


def test_what_was_known_before_and_another_dev_are_pointed_out(
    played: type[Played], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played.outcomes = (success(0.8),)
    monkeypatch.setattr(Registry, "children", lambda *_: {})
    sweep.sweep("prepare.seed=7")
    output = capsys.readouterr().out
    assert " known before\n" in output
    assert "prepare.* changes dev itself" in output


def test_experiments_find_store_and_data_from_other_folders(
    played: type[Played], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = Params.load().fetch
    assert sweep.environment(fetch)[URI_VARIABLE] == local_uri() == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert "NSMC_SOURCE" not in sweep.environment(fetch), "what is not here cannot be made absolute"
    (tmp_path / fetch.source).mkdir(parents=True)
    (tmp_path / "crawl").mkdir()
    monkeypatch.setenv("NSMC_CRAWL", "crawl")
    found = sweep.environment(fetch)
    assert (found["NSMC_SOURCE"], found["NSMC_CRAWL"]) == (str(tmp_path / fetch.source), str(tmp_path / "crawl"))
    monkeypatch.setenv("NSMC_SOURCE", "https://somewhere/nsmc")
    assert sweep.environment(fetch)["NSMC_SOURCE"] == "https://somewhere/nsmc"
    for given, expected in (
        ("sqlite:///own.db", f"sqlite:///{tmp_path}/own.db"),
        ("sqlite:////somewhere/own.db", "sqlite:////somewhere/own.db"),
        ("folder", f"{tmp_path}/folder"),
        ("http://user:secret@host:5000", "http://user:secret@host:5000"),
    ):
        monkeypatch.setenv(URI_VARIABLE, given)
        assert sweep.environment(fetch)[URI_VARIABLE] == expected
