import sys
from pathlib import Path

import pytest
import yaml

from pipelines.errors import SettingsError
from pipelines.launch import command


def test_without_variables_the_stage_runs_as_it_is() -> None:
    assert command("train", {}) == [sys.executable, "-m", "pipelines.train"]
    assert command("train", {"TRAIN_PROCESSES": "1"}) == [sys.executable, "-m", "pipelines.train"]


def test_a_configuration_is_handed_to_accelerate(root: Path) -> None:
    config = str(root / "training/configs/two_gpus.yaml")
    assert command("train", {"ACCELERATE_CONFIG": config})[1:] == [
        "-m", "accelerate.commands.launch", "--config_file", config, "-m", "pipelines.train",
    ]  # fmt: skip


def test_processes_are_started_by_torch() -> None:
    assert command("backbone", {"TRAIN_PROCESSES": "2"})[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "pipelines.backbone",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ACCELERATE_CONFIG": "nowhere.yaml"}, r"ACCELERATE_CONFIG is 'nowhere\.yaml', which is no file"),
        ({"TRAIN_PROCESSES": "two"}, "TRAIN_PROCESSES is 'two'; it must be a whole number from 1 to 64"),
        ({"TRAIN_PROCESSES": "0"}, "TRAIN_PROCESSES is '0'"),
        ({"TRAIN_PROCESSES": "2", "ACCELERATE_CONFIG": "x"}, "both set; it must be one of them"),
    ],
)
def test_what_cannot_be_followed_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        command("train", variables)


def test_every_configuration_is_listed_and_leaves_precision_to_the_settings(root: Path) -> None:
    folder = root / "training/configs"
    files = sorted(folder.glob("*.yaml"))
    listed = (folder / "README.md").read_text(encoding="utf-8")
    assert files
    for file in files:
        assert f"`{file.name}`" in listed
        assert yaml.safe_load(file.read_text())["mixed_precision"] == "no"
