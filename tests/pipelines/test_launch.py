import sys
from pathlib import Path

import pytest
import yaml

from pipelines.errors import SettingsError
from pipelines.launch import STAGES, command


def test_without_a_configuration_the_stage_runs_as_it_is() -> None:
    assert command("train", None) == [sys.executable, "-m", "pipelines.train"]


def test_a_configuration_is_handed_to_accelerate(root: Path) -> None:
    config = str(root / "training/configs/cpu_two_processes.yaml")
    assert command("train", config)[2:] == [
        "accelerate.commands.launch", "--config_file", config, "-m", "pipelines.train",
    ]  # fmt: skip


def test_a_configuration_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ACCELERATE_CONFIG is 'nowhere\.yaml', which is no file"):
        command("train", "nowhere.yaml")


def test_every_configuration_is_listed_and_leaves_precision_to_the_settings(root: Path) -> None:
    folder = root / "training/configs"
    files = sorted(folder.glob("*.yaml"))
    listed = (folder / "README.md").read_text(encoding="utf-8")
    assert len(files) == 5
    for file in files:
        assert f"`{file.name}`" in listed
        assert yaml.safe_load(file.read_text())["mixed_precision"] == "no"
    assert STAGES == ("backbone", "train")
