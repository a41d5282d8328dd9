from pathlib import Path

import pytest
import yaml

from pipelines import artifacts, serve, workspace
from pipelines.errors import PackagingError


def test_a_working_copy_is_whole_and_keeps_what_was_made_in_it(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "copy"
    workspace.make("demo", folder, root)
    assert yaml.safe_load((folder / "params.yaml").read_text())["profile"] == "demo"
    assert (folder / "dvc.yaml").read_bytes() == (root / "dvc.yaml").read_bytes()
    assert (folder / ".dvc" / "config").exists()
    assert not list(folder.rglob("__pycache__"))
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "kept").touch()
    (folder / "training" / "stale.py").touch()
    workspace.make("demo", folder, root)
    assert (folder / "artifacts" / "kept").exists()
    assert not (folder / "training" / "stale.py").exists()


def test_serving_before_packaging_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"nothing was packaged in .* yet; run `make repro`"):
        serve.command(tmp_path, 3000)


def test_a_workspace_with_a_store_of_its_own_is_served_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", "/elsewhere")
    assert serve.environment(tmp_path)["BENTOML_HOME"] == "/elsewhere"
    (tmp_path / serve.STORE_FOLDER).mkdir()
    assert serve.environment(tmp_path)["BENTOML_HOME"] == str(tmp_path / serve.STORE_FOLDER)
    artifacts.write_json(tmp_path / artifacts.PACKAGE, {"bento_tag": "nsmc-sentiment:v1"})
    assert serve.command(tmp_path, 3100)[-5:] == ["nsmc-sentiment:v1", "--host", "127.0.0.1", "--port", "3100"]
