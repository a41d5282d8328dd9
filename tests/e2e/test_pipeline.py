"""From reviews to a champion in the stores, by DVC alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from data.bundle import Bundle
from pipelines import artifacts, register
from pipelines.registry import BUNDLE, CANDIDATE, CHAMPION, DIGEST_TAG, EVALUATION, REPORTS, local_uri, place
from pipelines.serve import environment
from tests.e2e.conftest import Workspace, fingerprint

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
STAGES = (
    *("fetch", "prepare", "baseline", "compose", "backbone", "train", "evaluate", "export"),
    *("register", "choose", "package"),
)


def changed(workspace: Workspace, section: str, key: str, value: object) -> set[str]:
    """The stages that DVC calls changed after one setting was; the setting is put back."""
    path = workspace.folder / "params.yaml"
    before = path.read_text()
    settings = yaml.safe_load(before)
    settings[section][key] = value
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    try:
        return set(json.loads(workspace.dvc("status", "--json")))
    finally:
        path.write_text(before)


def test_a_second_time_does_nothing(reproduced: Workspace) -> None:
    lock = (reproduced.folder / "dvc.lock").read_bytes()
    output = reproduced.dvc("repro")
    assert "Running stage" not in output
    assert output.count("didn't change, skipping") == len(STAGES)
    assert (reproduced.folder / "dvc.lock").read_bytes() == lock
    assert json.loads(reproduced.dvc("status", "--json")) == {}


@pytest.mark.parametrize(
    ("section", "key", "value", "first"),
    [
        ("train", "learning_rate", 0.001, {"train"}),
        ("prepare", "seed", 7, {"prepare"}),
        ("judge", "neutral_low", 0.3, {"evaluate"}),
        ("choose", "significance", 0.1, {"choose"}),
        ("compose", "polar", True, {"compose"}),
        ("backbone", "seed", 7, {"backbone"}),
        ("encode", "max_length_tokens", 256, {"backbone", "train", "evaluate", "export"}),
    ],
)
def test_a_setting_reruns_only_what_depends_on_it(
    reproduced: Workspace, section: str, key: str, value: object, first: set[str]
) -> None:
    assert changed(reproduced, section, key, value) == first


def test_what_dvc_shows_is_useful(reproduced: Workspace) -> None:
    metrics = reproduced.dvc("metrics", "show", "--json")
    accuracy = json.loads(metrics)[""]["data"]["artifacts/reports/evaluation.json"]["data"]["test"]["accuracy"]
    assert 0.0 < accuracy <= 1.0
    reproduced.dvc("plots", "show", "--out", "plots")
    page = (reproduced.folder / "plots" / "index.html").read_text()
    for title in ("Training loss", "Accuracy on dev", "Confusion (test)", "Accuracy by confidence"):
        assert title in page


def test_the_champion_is_registered_with_its_lineage(reproduced: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reproduced.folder)
    client = MlflowClient(local_uri())
    champion = client.get_model_version_by_alias("koelectra-nsmc", CHAMPION)
    bundle = Bundle.open(artifacts.BUNDLE)
    assert champion.tags[DIGEST_TAG] == bundle.manifest.digest
    assert champion.tags["gate"] == "passed"
    assert int(client.get_model_version_by_alias("koelectra-nsmc", CANDIDATE).version) == int(champion.version)
    assert champion.run_id
    run = client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "3"
    assert {"git_commit", "dvc_lock_sha256", "train_sha256", "dev_sha256", "test_sha256"} <= set(run.data.tags)
    assert "test/accuracy" in run.data.metrics
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) > 5
    assert len(client.get_metric_history(run.info.run_id, "epoch/dev_accuracy")) == 3
    assert "baseline/mcnemar_p" in run.data.metrics
    assert "모델" in run.data.tags["mlflow.note.content"]
    assert champion.description == run.data.tags["mlflow.note.content"]
    kept = {
        entry.path.rpartition("/")[2]
        for kind in (BUNDLE, EVALUATION, REPORTS)
        for entry in client.list_artifacts(run.info.run_id, place(kind, bundle.manifest.digest))
    }
    assert {
        "model.onnx",
        "tokenizer.json",
        "bundle.json",
        "predictions.parquet",
        "evaluation.json",
        "steps.csv",
        "confusion.png",
        "reliability.png",
        "loss.png",
        "mistakes.csv",
        "behaviour.json",
        "model_card.md",
    } <= kept
    assert bundle.manifest.lineage["mlflow_run_id"] == run.info.run_id


def test_another_store_gets_the_whole_run_from_the_records(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after DVC restored the training from its cache, on a machine whose MLflow never saw it."""
    for name in ("artifacts", "params.yaml", "dvc.lock"):
        source = reproduced.folder / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    register.main()
    client = MlflowClient(store)
    version = client.get_model_version_by_alias("koelectra-nsmc", CANDIDATE)
    assert version.tags[DIGEST_TAG] == Bundle.open(artifacts.BUNDLE).manifest.digest
    assert version.run_id
    assert len(client.get_metric_history(version.run_id, "train/loss")) > 5
    assert len(client.get_metric_history(version.run_id, "epoch/dev_accuracy")) == 3
    assert client.get_run(version.run_id).info.status == "FINISHED"
    register.main()
    experiment = client.get_experiment_by_name("nsmc")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1, "the run that was made is found again"
    assert int(client.get_model_version_by_alias("koelectra-nsmc", CANDIDATE).version) == int(version.version)


def test_two_processes_share_one_training(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared"
    shutil.copytree(reproduced.folder, folder, ignore=shutil.ignore_patterns("mlruns", "bentoml", ".cache"))
    alone = (folder / artifacts.STEPS_PLOT).read_text().splitlines()
    launch = [sys.executable, "-m", "pipelines.launch", "train"]
    variables = environment(folder) | {"TRAIN_PROCESSES": "2"}
    done = subprocess.run(launch, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((folder / artifacts.STEPS_PLOT).read_text().splitlines()) == len(alone)
    monkeypatch.chdir(folder)
    client = MlflowClient(local_uri())
    experiment = client.get_experiment_by_name("nsmc")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == len(alone) - 1


def test_the_decision_and_its_reasons_are_written_down(reproduced: Workspace) -> None:
    decision = json.loads((reproduced.folder / artifacts.DECISION).read_text())
    assert decision["promoted"]
    assert decision["champion_before"] is None
    assert "points against the linear baseline" in decision["reasons"][0]


def test_the_bento_embeds_exactly_the_champion_and_only_the_serving_files(reproduced: Workspace) -> None:
    package = json.loads((reproduced.folder / artifacts.PACKAGE).read_text())
    name, _, version = package["bento_tag"].partition(":")
    bento = reproduced.folder / "bentoml" / "bentos" / name / version
    described = yaml.safe_load((bento / "bento.yaml").read_text())
    assert [model["tag"] for part in described["services"] for model in part["models"]] == [package["model_tag"]]
    files = {path.relative_to(bento / "src").as_posix() for path in (bento / "src").rglob("*.py")}
    assert "serving/service.py" in files
    assert not any(file.startswith(("training/", "pipelines/", "tests/")) for file in files)
    assert "data/nsmc.py" not in files
    models = reproduced.folder / "bentoml" / "models" / package["model_tag"].replace(":", "/")
    assert Bundle.open(models).manifest.digest == package["bundle_digest"]


def test_the_bundle_holds_no_pickle(reproduced: Workspace) -> None:
    files = {path.name for path in (reproduced.folder / artifacts.BUNDLE).iterdir()}
    graphs = set(Bundle.open(reproduced.folder / artifacts.BUNDLE).manifest.graphs.values())
    assert files == {"bundle.json", "tokenizer.json", *graphs}
    assert all(name.endswith(".onnx") for name in graphs)


def test_the_demo_leaves_the_real_run_alone(reproduced: Workspace, root: Path, real_run_before: dict[str, str]) -> None:
    assert fingerprint(root) == real_run_before
    assert reproduced.dvc("root").strip() == "."


def test_choosing_again_keeps_what_was_decided(reproduced: Workspace) -> None:
    path = reproduced.folder / artifacts.DECISION
    before = path.read_bytes()
    reproduced.dvc("repro", "--force", "--single-item", "choose")
    assert path.read_bytes() == before
