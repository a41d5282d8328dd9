from pathlib import Path

import pytest
import yaml

from pipelines import profile
from pipelines.errors import SettingsError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    profile.write("compact", path)
    return path


def test_a_profile_is_written_whole(target: Path) -> None:
    assert yaml.safe_load(target.read_text()) == profile.resolve("compact")
    assert [path.name for path in target.parent.iterdir()] == ["params.yaml"]


def test_profiles_replace_each_other(target: Path) -> None:
    profile.write("demo", target)
    assert yaml.safe_load(target.read_text())["profile"] == "demo"


def test_edits_are_not_lost_unless_told(target: Path) -> None:
    edited = yaml.safe_load(target.read_text())
    edited["train"]["epochs"] = 9
    target.write_text(yaml.safe_dump(edited))
    for name in ("compact", "demo"):
        with pytest.raises(SettingsError, match=r"differs from its own profile at train\.epochs.*FORCE=1"):
            profile.write(name, target)
    assert yaml.safe_load(target.read_text()) == edited
    profile.write("demo", target, force=True)
    assert yaml.safe_load(target.read_text())["profile"] == "demo"


def test_an_unknown_profile_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PROFILE is 'huge'; it must be one of compact, compact-crawl, demo"):
        profile.write("huge", tmp_path / "params.yaml")


def test_an_unprofiled_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("something: else\n")
    with pytest.raises(SettingsError):
        profile.write("demo", tmp_path / "params.yaml")
