"""Which run a training goes on as, wherever it was killed before. Against a real MLflow store on SQLite."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import pipelines.registry
from pipelines.params import Params
from pipelines.registry import Registry
from pipelines.resumption import Resumption

RENAMES = ["checkpoint", "checkpoint.old"]


@pytest.fixture
def params(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(root)
    params = Params.load()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipelines.registry, "datasets_used", lambda _: [])
    return params


@pytest.mark.parametrize("kept", RENAMES)
def test_killed_after_a_checkpoint_even_between_its_renames(params: Params, tmp_path: Path, kept: str) -> None:
    registry, resumption = Registry(params.register_), Resumption(tmp_path / "checkpoint")
    run_id = resumption.open_run(registry, params)
    (tmp_path / kept).mkdir()
    assert resumption.open_run(registry, params) == run_id
    assert MlflowClient(registry.uri).get_run(run_id).info.status == "RUNNING"


def test_killed_before_the_first_checkpoint(params: Params, tmp_path: Path) -> None:
    registry, resumption = Registry(params.register_), Resumption(tmp_path / "checkpoint")
    lost = resumption.open_run(registry, params)
    assert resumption.open_run(registry, params) != lost
    assert MlflowClient(registry.uri).get_run(lost).info.status == "KILLED", "it does not look as if it went on"


def test_nothing_of_a_training_stays_once_its_outcome_was_put_away(params: Params, tmp_path: Path) -> None:
    resumption = Resumption(tmp_path / "checkpoint")
    resumption.open_run(Registry(params.register_), params)
    for name in (*RENAMES, "checkpoint.new"):
        (tmp_path / name).mkdir()
    resumption.forget()
    assert not list(tmp_path.glob("checkpoint*"))
