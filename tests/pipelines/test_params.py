from pathlib import Path

import pytest
import yaml

from pipelines import profile
from pipelines.errors import SettingsError
from pipelines.params import PARAMS_FILE, Params


def test_the_committed_settings_are_valid(root: Path) -> None:
    assert Params.load(root / PARAMS_FILE).profile in profile.names()


@pytest.mark.parametrize("name", profile.names())
def test_every_profile_is_complete_and_valid(name: str) -> None:
    assert Params.check(profile.resolve(name), name).profile == name


def test_the_profiles_are_there() -> None:
    assert profile.names() == ["compact", "compact-crawl", "demo", "koelectra-base-v3", "koelectra-small-v3"]
    assert profile.DEFAULT == "koelectra-base-v3"


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "epochs", 0, "train.epochs is 0; it must be at least 1"),
        ("train", "epochs", "many", "train.epochs"),
        ("train", "epoch", 3, "train.epoch: Unexpected keyword argument"),
        ("prepare", "dev_fraction", 0.7, "prepare.dev_fraction: Input should be less than 0.5"),
        ("encode", "max_length_tokens", 513, "encode.max_length_tokens: Input should be less than or equal to 512"),
        ("judge", "neutral_low", 0.6, "judge.neutral_low"),
        ("register", "model", "No Spaces", "register.model"),
        ("surprise", "key", 1, "surprise: Extra inputs are not permitted"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, section: str, key: str, value: object, message: str) -> None:
    settings = profile.resolve("compact")
    settings.setdefault(section, {})[key] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SettingsError) as caught:
        Params.load(tmp_path / "params.yaml")
    assert message in str(caught.value)


def test_cross_rule_between_architecture_and_length() -> None:
    settings = profile.resolve("compact")
    settings["backbone"]["architecture"]["positions"] = 128
    with pytest.raises(SettingsError, match=r"positions is 128; it must be at least encode.max_length_tokens \(512\)"):
        Params.check(settings, "x")


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is missing; run from the repository's root"):
        Params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(SettingsError, match="is not YAML"):
        Params.load(tmp_path / "params.yaml")
